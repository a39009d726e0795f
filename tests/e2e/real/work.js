// Recorded by test_real.py: workers, typed arrays, compression, WebAssembly, garbage; the number of
// rounds is an argument.
// SPDX-License-Identifier: MIT
'use strict';
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto');
const readline = require('readline');
const zlib = require('zlib');

function sum(n) {
  let total = 0;
  for (let i = 0; i < n; i++) {
    const block = new Float64Array(10000 + i).fill(i);
    total += block[i % block.length];
  }
  return total;
}

function garbage(n) {
  let kept = [];
  for (let i = 0; i < n; i++) {
    kept.push({ i, text: `text ${i}`, list: new Array(20).fill(i) });
    if (kept.length > 5000) kept = kept.slice(4000);
  }
  return kept.length;
}

function wasm() {
  // (module (memory 1) (func (export "grow") (result i32) i32.const 10 memory.grow))
  const bytes = Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0,
    5, 3, 1, 0, 1, 7, 8, 1, 4, 103, 114, 111, 119, 0, 0, 10, 8, 1, 6, 0, 65, 10, 64, 0, 11]);
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes));
  return [instance.exports.grow(), instance.exports.grow()];
}

if (!isMainThread) {
  parentPort.postMessage(sum(workerData));
} else {
  console.log('ready');
  console.log(sum(300), garbage(200000), wasm());
  readline.createInterface({ input: process.stdin }).once('line', async () => {
    const packed = zlib.gzipSync(Buffer.alloc(1 << 20, 'vmtrail'));
    console.log(crypto.createHash('sha256').update(zlib.gunzipSync(packed)).digest('hex'));
    for (let round = 0; round < Number(process.argv[2] || 1); round++) {
      const sums = await Promise.all([100, 200, 300, 400].map((n) => new Promise((done) => {
        new Worker(__filename, { workerData: n }).once('message', done);
      })));
      console.log(sums, garbage(100000));
    }
    process.exit(0);
  });
}
