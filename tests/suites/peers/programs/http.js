// SPDX-License-Identifier: GPL-2.0
// An HTTP server and a client that loads it, by node's own http.
//
// usage: node http.js serve PORT
//        node http.js load PORT CLIENTS REQUESTS
//
// As programs/http.go, which see: "N requests", and the client ends when its input does.
'use strict';
const http = require('http');
const crypto = require('crypto');
const { setTimeout: sleep } = require('timers/promises');

const [what, port, clients, requests] = process.argv.slice(2);

function serve() {
	const server = http.createServer((request, response) => {
		if (request.url === '/slow')
			sleep(30).then(() => response.end('slow'));
		else if (request.url === '/echo')
			request.pipe(response);
		// and /never is not answered
	});
	server.keepAliveTimeout = 100000; // or it closes them after 5 s
	server.listen(Number(port), '127.0.0.1');
	process.on('SIGTERM', () => {
		server.close();
		server.closeAllConnections();
	});
}

function ask(agent, path, body, patience) {
	return new Promise((resolve, reject) => {
		const request = http.request({ port, host: '127.0.0.1', agent, path, method: 'POST' },
			(response) => {
				const parts = [];
				response.on('data', (part) => parts.push(part));
				response.on('end', () => resolve(Buffer.concat(parts)));
				response.on('error', reject);
			});
		request.on('error', reject);
		if (patience)
			setTimeout(() => request.destroy(new Error('given up')), patience);
		request.end(body);
	});
}

async function client(agent) {
	let failed = 0;

	for (let i = 0; i < requests; i++) {
		try {
			if (i % 20 === 19) {
				const why = await ask(agent, '/never', '', 20).catch((e) => e.message);
				if (why !== 'given up')
					throw new Error(`/never: ${why}`);
			} else if (i % 10 === 9) {
				if (String(await ask(agent, '/slow', '')) !== 'slow')
					throw new Error('/slow: the answer differs');
			} else {
				const body = crypto.randomBytes(i % 40 === 5 ? 1 << 20 : 1 << (i % 11));
				if (!body.equals(await ask(agent, '/echo', body)))
					throw new Error('/echo: the answer differs');
			}
		} catch (error) {
			console.log(`error: ${error.message}`);
			failed++;
		}
	}
	return failed;
}

async function load() {
	const kept = new http.Agent({ keepAlive: true, maxSockets: Infinity });
	const closed = new http.Agent({ keepAlive: false });
	const all = [];

	for (let n = 0; n < clients; n++)
		all.push(client(n % 4 === 3 ? closed : kept));
	const failed = (await Promise.all(all)).reduce((a, b) => a + b);
	console.log(`${clients * requests} requests`);
	process.stdin.on('end', () => process.exit(failed ? 1 : 0)).resume();
}

if (what === 'serve')
	serve();
else
	load();
