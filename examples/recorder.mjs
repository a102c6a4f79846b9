// Records what happens to jobs with queue-latency/recorder. It reads lines of TYPE QUEUE JOB_ID, such as "ENQUEUED mail 42":
//
//   npm install queue-latency
//   node recorder.mjs http://127.0.0.1:4000 < events
import { createInterface } from "node:readline";
import { createRecorder } from "queue-latency/recorder";

const recorder = createRecorder({
  url: process.argv[2],
  token: process.env.QUEUE_LATENCY_TOKEN ?? null,
  closeTimeoutMs: 60_000,
});
const methods = { ENQUEUED: recorder.enqueued, DEQUEUED: recorder.dequeued, REMOVED: recorder.removed };
for await (const line of createInterface({ input: process.stdin })) {
  const [type, queue, jobId] = line.split(" ");
  methods[type]?.(queue, jobId);
}
const { recorded, dropped } = await recorder.close();
console.log(`recorded ${recorded} dropped ${dropped}`);
