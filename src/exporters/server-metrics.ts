import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";

/** Metrics of this process, for Prometheus. */
export interface ServerMetrics {
  /** Begins to watch the process. */
  start(): void;
  /** An HTTP request was answered. */
  answered(status: number): void;
  /** A GraphQL request was refused, with an error code, over HTTP or a WebSocket. */
  refused(code: string): void;
  text(isRedisUp: boolean): Promise<string>;
  /** The same, metric by metric. */
  read(isRedisUp: boolean): Promise<readonly ReadMetric[]>;
}

/** As prom-client reads it. */
export interface ReadMetric {
  readonly name: string;
  readonly help: string;
  readonly values: readonly {
    readonly value: number;
    readonly labels: Readonly<Record<string, string | number | undefined>>;
    /** Of a histogram: with `_bucket`, `_sum` or `_count` behind the name. */
    readonly metricName?: string;
  }[];
}

export interface ServerMetricsOptions {
  /** How many subscriptions are open. */
  readonly subscriptions: () => number;
  /** Of each source that this process reads: whether it answered when it was last read. */
  readonly sourcesUp: ReadonlyMap<string, boolean>;
}

export function createServerMetrics({ subscriptions, sourcesUp }: ServerMetricsOptions): ServerMetrics {
  const registry = new Registry();
  const registers = [registry];
  const redisUp = new Gauge({
    name: "queue_latency_redis_up",
    help: "1 when Redis answered this scrape, else 0: then there is no series of any queue.",
    registers,
  });
  new Gauge({
    name: "queue_latency_open_subscriptions",
    help: "Subscriptions that are open at this server.",
    registers,
    collect() {
      this.set(subscriptions());
    },
  });
  new Gauge({
    name: "queue_latency_source_up",
    help: "1 when the job system answered when it was read last, else 0. Of several servers one reads it: absent at the others.",
    labelNames: ["source"],
    registers,
    collect() {
      this.reset();
      for (const [source, isUp] of sourcesUp) this.set({ source }, Number(isUp));
    },
  });
  const answers = new Counter({
    name: "queue_latency_http_responses_total",
    help: "HTTP requests that this server has answered, by status.",
    labelNames: ["status"],
    registers,
  });
  const refusals = new Counter({
    name: "queue_latency_refused_requests_total",
    help: "GraphQL requests, over HTTP or a WebSocket, that this server has refused when it was to admit them, by error code.",
    labelNames: ["code"],
    registers,
  });
  return {
    start: () => void processMetrics(),
    answered: (status) => answers.inc({ status }),
    refused: (code) => refusals.inc({ code }),
    async text(isRedisUp) {
      redisUp.set(Number(isRedisUp));
      return `${await registry.metrics()}\n${await processMetrics().metrics()}\n`;
    },
    async read(isRedisUp) {
      redisUp.set(Number(isRedisUp));
      return [...(await registry.getMetricsAsJSON()), ...(await processMetrics().getMetricsAsJSON())];
    },
  };
}

/**
 * In this order: some are set when another one is read. The list leaves out metrics of prom-client that have little
 * use, and those whose names promtool rejects.
 */
const exported = [
  ...["process_cpu_user_seconds_total", "process_cpu_system_seconds_total", "process_cpu_seconds_total"],
  ...["process_start_time_seconds", "process_resident_memory_bytes", "process_open_fds", "process_max_fds"],
  ...["nodejs_eventloop_lag_seconds", "nodejs_eventloop_lag_p99_seconds", "nodejs_eventloop_lag_max_seconds"],
  ...[
    "nodejs_heap_size_total_bytes",
    "nodejs_heap_size_used_bytes",
    "nodejs_gc_duration_seconds",
    "nodejs_version_info",
  ],
];

let ofProcess: Registry | undefined;

/** They watch the process from the first time that they are asked for; there is one process, so there is one of them. */
function processMetrics(): Registry {
  if (ofProcess !== undefined) return ofProcess;
  const all = new Registry();
  collectDefaultMetrics({ register: all });
  ofProcess = new Registry();
  for (const name of exported) {
    const metric = all.getSingleMetric(name);
    if (metric !== undefined) ofProcess.registerMetric(metric);
  }
  return ofProcess;
}
