// SPDX-License-Identifier: GPL-2.0
//! An echo server and its clients, on tokio with four threads.
//!
//! usage: tokio-echo serve PORT
//!        tokio-echo load PORT CLIENTS MESSAGES
//!
//! The server ends well by SIGTERM. The client prints what went wrong and "N messages", and
//! then waits for its input to end with all connections open.
use std::io::{Error, ErrorKind, Read, Result};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{signal, SignalKind};
use tokio::time::timeout;

async fn serve(port: u16) -> Result<()> {
    let mut stop = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        tokio::select! {
            _ = stop.recv() => return Ok(()),
            accepted = listener.accept() => {
                let (mut connection, _) = accepted?;
                tokio::spawn(async move {
                    let (mut from, mut to) = connection.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        }
    }
}

async fn client(port: u16, number: usize, messages: usize) -> Result<TcpStream> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut state = number as u64 + 1;
    for n in 0..messages {
        // Some are more than the sockets take at once: written and read at the same time.
        let size = if n % 20 == 5 { 1 << 20 } else { 1 << (n % 13) };
        let message: Vec<u8> = (0..size)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                (state >> 33) as u8
            })
            .collect();
        let mut answer = vec![0; size];
        let (mut from, mut to) = connection.split();
        tokio::try_join!(to.write_all(&message), from.read_exact(&mut answer))?;
        if answer != message {
            return Err(Error::new(ErrorKind::InvalidData, "not what was sent"));
        }
        // Nothing more comes, which a timer tells.
        if n % 20 == 10 && timeout(Duration::from_millis(10), from.read(&mut answer)).await.is_ok() {
            return Err(Error::new(ErrorKind::InvalidData, "more than was sent"));
        }
    }
    Ok(connection)
}

async fn load(port: u16, clients: usize, messages: usize) -> Result<()> {
    let tasks: Vec<_> = (0..clients)
        .map(|number| tokio::spawn(timeout(Duration::from_secs(100), client(port, number, messages))))
        .collect();
    let mut open = Vec::new();
    for task in tasks {
        open.push(task.await???);
    }
    println!("{} messages", open.len() * messages);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let number = |i: usize| words.get(i).and_then(|word| word.parse::<usize>().ok()).unwrap_or(0);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()?
        .block_on(async {
            match words.get(1).map(String::as_str) {
                Some("serve") => serve(number(2) as u16).await,
                Some("load") => load(number(2) as u16, number(3), number(4)).await,
                _ => Err(Error::new(ErrorKind::InvalidInput, "serve PORT | load PORT CLIENTS MESSAGES")),
            }
        })
}
