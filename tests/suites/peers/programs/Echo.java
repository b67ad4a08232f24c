// SPDX-License-Identifier: GPL-2.0
// An echo server and its clients, by java.nio's selectors, which are epoll.
//
// usage: java Echo.java PORT CLIENTS MESSAGES
//
// Both are in this one process, a thread and a selector each. It says "N messages", and
// then waits for its input to end with all connections open.
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.Random;

public class Echo {
	static volatile boolean stop;

	static void serve(Selector selector) {
		ByteBuffer buffer = ByteBuffer.allocateDirect(8192);
		try {
			while (!stop) {
				selector.select();
				var keys = selector.selectedKeys().iterator();
				while (keys.hasNext()) {
					SelectionKey key = keys.next();
					keys.remove();
					if (key.isAcceptable()) {
						SocketChannel channel = ((ServerSocketChannel) key.channel()).accept();
						channel.configureBlocking(false);
						channel.register(selector, SelectionKey.OP_READ);
						continue;
					}
					SocketChannel channel = (SocketChannel) key.channel();
					buffer.clear();
					if (channel.read(buffer) < 0) {
						channel.close();
						continue;
					}
					// Its client reads all before it sends more: there is room.
					buffer.flip();
					while (buffer.hasRemaining())
						channel.write(buffer);
				}
			}
		} catch (Exception e) {
			System.out.println("error: " + e);
			System.exit(1);
		}
	}

	static class Client {
		final SocketChannel channel;
		final ByteBuffer out = ByteBuffer.allocate(4096), in = ByteBuffer.allocate(4096);
		int sent;

		Client(SocketChannel channel) {
			this.channel = channel;
		}

		void send(Random random) throws Exception {
			byte[] message = new byte[1 + random.nextInt(4096)];
			random.nextBytes(message);
			out.clear();
			out.put(message).flip();
			in.clear().limit(message.length);
			while (out.hasRemaining())
				channel.write(out);
			out.rewind();
			sent++;
		}

		boolean receive() throws Exception {
			if (channel.read(in) < 0)
				throw new Exception("closed");
			if (in.hasRemaining())
				return false;
			in.flip();
			if (!in.equals(out))
				throw new Exception("not what was sent");
			return true;
		}
	}

	public static void main(String[] args) throws Exception {
		var address = new InetSocketAddress(InetAddress.getLoopbackAddress(), Integer.parseInt(args[0]));
		int clients = Integer.parseInt(args[1]), messages = Integer.parseInt(args[2]);
		Random random = new Random(1);
		long done = 0;

		Selector server = Selector.open();
		ServerSocketChannel listener = ServerSocketChannel.open();
		listener.bind(address, 128).configureBlocking(false);
		listener.register(server, SelectionKey.OP_ACCEPT);
		Thread thread = new Thread(() -> serve(server));
		thread.start();

		Selector selector = Selector.open();
		for (int i = 0; i < clients; i++) {
			Client client = new Client(SocketChannel.open(address));
			client.channel.configureBlocking(false);
			client.channel.register(selector, SelectionKey.OP_READ, client);
			client.send(random);
		}
		for (int left = clients; left > 0;) {
			if (selector.select(60000) == 0)
				throw new Exception("no answer for a minute");
			for (SelectionKey key : selector.selectedKeys()) {
				Client client = (Client) key.attachment();
				if (!client.receive())
					continue;
				done++;
				if (client.sent == messages)
					left--;
				else
					client.send(random);
			}
			selector.selectedKeys().clear();
		}
		System.out.println(done + " messages");
		while (System.in.read() >= 0) {
		}
		stop = true;
		server.wakeup();
		thread.join();
	}
}
