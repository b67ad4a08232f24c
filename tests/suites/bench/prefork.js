// SPDX-License-Identifier: GPL-2.0
// prefork.c for node: its cluster, with all workers on one listening socket.
const cluster = require('cluster');
const net = require('net');

cluster.schedulingPolicy = cluster.SCHED_NONE;
if (cluster.isPrimary) {
  const workers = Number(process.argv[2]);
  let listening = 0;
  for (let i = 0; i < workers; i++)
    cluster.fork();
  cluster.on('listening', (_, address) => {
    if (++listening === workers) {
      console.log(address.port);
      for (const id in cluster.workers)
        console.log(cluster.workers[id].process.pid);
    }
  });
} else {
  net.createServer(socket => socket.end(String(process.pid)))
    .listen({ port: 0, host: '127.0.0.1', backlog: 512 });
}
