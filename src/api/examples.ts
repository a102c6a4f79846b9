/**
 * What a first visitor finds in GraphiQL: a query, a subscription, a mutation, and alerts. They work on a server with no data and
 * show more on a demo. Lines are short, for the editor has half of the window.
 */
export const exampleTabs: readonly { readonly query: string }[] = [
  {
    query: `# All queues, worst first. Ctrl-Enter runs it.
# The next tab watches queues live, and the
# third one records that a job was enqueued.
# A latency that is not known is null: see
# state, accuracy and stale.
query Queues {
  queues(orderBy: LATENCY, first: 20) {
    edges {
      node {
        queue
        state
        latency
        accuracy
        stale
        depth
        scheduled
        health
        throughput {
          enqueuedPerSecond
          dequeuedPerSecond
        }
        waitTime {
          count
          p50
          p95
        }
      }
    }
  }
}
`,
  },
  {
    query: `# All of these first, then those that change
# and those in which a job waits. Leaving the
# tab ends it: record in a second window.
#
# Name your own queues. The third tab fills
# "example", and "npm run demo" the others.
subscription Watch {
  queueLatency(
    queues: [
      "example"
      "demo/steady"
      "demo/bursty"
      "demo/falling-behind"
      "demo/scheduled"
    ]
    minIntervalMs: 1000
  ) {
    queue
    state
    latency
    depth
    scheduled
  }
}
`,
  },
  {
    query: `# Records that a job was enqueued: its wait
# begins. To end the wait, send DEQUEUED.
# The same event again is a duplicate: give
# each job an id of its own.
mutation Record {
  recordEvents(
    events: [
      {
        type: ENQUEUED
        queue: "example"
        jobId: "job-1"
      }
    ]
  ) {
    accepted
    duplicates
    early
  }
}
`,
  },
  {
    query: `# PENDING and FIRING alerts, then each change.
# Rules come from ALERTS_FILE; "npm run demo"
# has some. See docs/alerts.md.
subscription Alerts {
  alertChanged {
    rule
    queue
    state
    since
    value
    facts {
      oldestSince
      depth
    }
  }
}
`,
  },
];
