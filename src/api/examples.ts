/** What a first visitor finds in GraphiQL: a query, a subscription and a mutation that work on a server with no data. */
export const exampleTabs: readonly { readonly query: string }[] = [
  {
    query: `# All queues, by name. Press the button with the triangle, or Ctrl-Enter.
# The next tab watches them live, the one behind it records events.
query Queues {
  queues(first: 20) {
    edges {
      node {
        queue
        source
        state
        latency
        oldestSince
        depth
        scheduled
        accuracy
        stale
        throughput(window: ONE_MINUTE) { enqueuedPerSecond dequeuedPerSecond }
        waitTime(window: FIVE_MINUTES) { count p50 p95 max }
      }
    }
  }
}
`,
  },
  {
    query: `# Starts with every queue named, then pushes what changes, and once a second what waits.
# Name your own queues here, such as "faktory/default".
subscription Watch {
  queueLatency(queues: ["example"]) {
    queue
    state
    latency
    depth
    measuredAt
  }
}
`,
  },
  {
    query: `# Tells that a job was enqueued. Send it again with another jobId, or with DEQUEUED.
mutation Record {
  recordEvents(events: [{ type: ENQUEUED, queue: "example", jobId: "job-1" }]) {
    accepted
    duplicates
    early
  }
}
`,
  },
];
