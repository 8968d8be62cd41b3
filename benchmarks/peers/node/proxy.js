// What one writes in Node: http-proxy, each request signed by oauth-1.0a.
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const httpProxy = require('http-proxy');
const OAuth = require('oauth-1.0a');

const { LISTEN, UPSTREAM, CONSUMER_KEY, PRIVATE_KEY, TOKEN } = process.env;
const [host, port] = LISTEN.split(':');
const key = crypto.createPrivateKey(fs.readFileSync(PRIVATE_KEY));
const oauth = OAuth({
  consumer: { key: CONSUMER_KEY, secret: '' },
  signature_method: 'RSA-SHA1',
  hash_function: (text) => crypto.createSign('RSA-SHA1').update(text).sign(key, 'base64'),
});
const proxy = httpProxy.createProxyServer({
  target: UPSTREAM,
  changeOrigin: true,
  agent: new http.Agent({ keepAlive: true, maxSockets: 256 }),
});

proxy.on('proxyReq', (outgoing, request) => {
  const signed = oauth.authorize(
    { url: UPSTREAM + request.url, method: request.method }, { key: TOKEN, secret: '' });
  outgoing.setHeader('Authorization', oauth.toHeader(signed).Authorization);
});
proxy.on('error', (error, request, response) => {
  if (response.writeHead && !response.headersSent) response.writeHead(502);
  response.end();
});
http.createServer((request, response) => proxy.web(request, response)).listen(port, host);
