// What one writes in Node to use all cores: the cluster module, a worker with proxy.js for each.
const cluster = require('cluster');
const os = require('os');

if (cluster.isPrimary) {
  os.cpus().forEach(() => cluster.fork());
  process.on('SIGTERM', () => process.exit());
} else {
  require('./proxy.js');
}
