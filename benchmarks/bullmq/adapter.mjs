// BullMQ: the same words as benchmarks/adapter.py, which explains them.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";

// The packages lie in .bench/node, so that this folder stays clean.
const require = createRequire(path.resolve(".bench/node/package.json"));
const { Queue, Worker } = require("bullmq");

const PAYLOAD = { text: "x".repeat(180) };
const SLEEP = 50; // ms
const WARM_UP = 20;
const ABOUT = {
  title: "BullMQ (Node.js)",
  package: "bullmq",
  delivery: "at least once (lock, stalled jobs)",
  settings: "completed jobs removed, no metrics, no log lines",
  bulk: "Queue.addBulk",
  concurrency: 100,
  rate: 5000,
  concurrent: true,
  version: require("bullmq/package.json").version,
};
const address = new URL(process.env.BENCH_REDIS ?? "redis://127.0.0.1:6379/0");
const connection = { host: address.hostname, port: Number(address.port), maxRetriesPerRequest: null };
const options = { removeOnComplete: true };
const rest = (ms) => new Promise((done) => setTimeout(done, ms));

async function oneByOne(queue, kind, number) {
  for (let i = 0; i < number; i++) await queue.add(kind, PAYLOAD, options);
}

async function many(queue, kind, number) {
  for (let start = 0; start < number; start += 500) {
    const size = Math.min(500, number - start);
    await queue.addBulk(Array.from({ length: size }, () => ({ name: kind, data: PAYLOAD, opts: options })));
  }
}

async function timed(call, queue, kind, number) {
  await call(queue, kind, WARM_UP);
  const start = process.hrtime.bigint();
  await call(queue, kind, number);
  return Number(process.hrtime.bigint() - start) / 1e9;
}

async function latencies(queue, number) {
  const notes = process.env.BENCH_NOTES;
  const waits = [];
  for (let i = 0; i < number; i++) {
    await rest(30 + 30 * Math.random());
    const before = fs.statSync(notes).size;
    const start = process.hrtime.bigint();
    await oneByOne(queue, "noop", 1);
    while (fs.statSync(notes).size === before) await rest(1);
    waits.push(Number(fs.readFileSync(notes).readBigInt64LE(before) - start) / 1e9);
  }
  return waits;
}

function work(concurrency) {
  const file = fs.openSync(process.env.BENCH_NOTES, "a");
  const buffer = Buffer.alloc(8);
  const note = () => {
    buffer.writeBigInt64LE(process.hrtime.bigint()); // the same clock as Python's time.monotonic_ns
    fs.writeSync(file, buffer);
  };
  const worker = new Worker(
    "bench",
    async (job) => {
      note();
      if (job.name === "sleep") {
        await rest(SLEEP);
        note();
      }
    },
    { connection, concurrency },
  );
  process.on("SIGTERM", () => worker.close().then(() => process.exit(0)));
}

const [word, ...args] = process.argv.slice(2);
if (word === "describe") {
  console.log(JSON.stringify(ABOUT));
} else if (word === "worker") {
  work(Number(args[1]));
} else {
  const queue = new Queue("bench", { connection });
  if (word === "latency") console.log(JSON.stringify(await latencies(queue, Number(args[0]))));
  else console.log(await timed(word === "enqueue" ? oneByOne : many, queue, args[0], Number(args[1])));
  await queue.close();
}
