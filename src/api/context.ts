import type { Scope } from "../core/admission.ts";
import type { Alert, AlertState, AlertStatus } from "../core/alerts.ts";
import type { CpuShare } from "../core/cpu-share.ts";
import type { JobIdentity, QueueEvent, RecordResult } from "../core/events.ts";
import type { Forecast, Health } from "../core/health.ts";
import type { HistoryReader, HistoryStep } from "../core/history.ts";
import type { PushSource } from "../core/push-source.ts";
import type { QueuePage, QueuePageRequest } from "../core/queue-page.ts";
import type { QueueSnapshot, SnapshotParts, WaitingJob } from "../core/snapshot.ts";

/** Bounds on arguments: known before anything runs, so this is all that the calculation of a cost is handed. */
export interface ArgumentLimits {
  readonly maxQueues: number;
  readonly maxEvents: number;
  /** Sources that are read by this server: names that begin with one of them and a slash belong to it. */
  readonly sources: readonly string[];
  /** For how long each step of the history is kept, in ms. */
  readonly historyKeptMs: Readonly<Record<HistoryStep, number>>;
}

/** What resolvers may use. */
export interface Context {
  /** Of what kind the operation is; known while its cost is calculated, and only then. */
  readonly operation?: "query" | "mutation" | "subscription";
  /** Who the request is charged to, by id. */
  readonly client: string;
  /** What it may do. The same for all who share an execution. */
  readonly scopes: ReadonlySet<Scope>;
  /** For work that goes on after the resolver has waited for something. */
  readonly share: CpuShare;
  readonly limits: ArgumentLimits;
  readonly tracker: {
    read(queues: readonly string[], parts: SnapshotParts): Promise<QueueSnapshot[]>;
    list(options: {
      readonly prefix?: string;
      readonly after?: string | null;
      readonly limit: number;
    }): Promise<string[]>;
    record(events: readonly QueueEvent[], batchId: string | null): Promise<RecordResult>;
    forget(queue: string): Promise<boolean>;
    trust(queue: string): Promise<boolean>;
    waiting(queue: string, first: number): Promise<WaitingJob[]>;
    remove(queue: string, jobs: readonly JobIdentity[]): Promise<number>;
  };
  readonly history: Pick<HistoryReader, "read">;
  /** Of snapshots that have their depth. */
  readonly health: {
    objectiveMsOf(queue: string): number | null;
    healthOf(snapshots: readonly QueueSnapshot[]): readonly Health[] | Promise<readonly Health[]>;
    forecastOf(snapshot: QueueSnapshot): Forecast | null | Promise<Forecast | null>;
  };
  readonly live: {
    watch(
      queues: readonly string[],
      request: { readonly minIntervalMs: number; readonly refreshMs: number; readonly countedMs: number },
    ): Promise<PushSource<QueueSnapshot[]>>;
    withCounts(
      snapshots: readonly QueueSnapshot[],
      parts: Pick<SnapshotParts, "throughput" | "waitTime">,
      holdMs: number,
    ): Promise<readonly QueueSnapshot[]>;
    readPage(request: QueuePageRequest, share: CpuShare): Promise<QueuePage>;
    watchPage(
      request: QueuePageRequest,
      minIntervalMs: number,
      share: CpuShare,
    ): Promise<PushSource<QueuePage>>;
  };
  readonly alerts: {
    list(query: {
      readonly state: AlertState | null;
      readonly queue: string | null;
      readonly first: number;
    }): Promise<Alert[]>;
    watch(filter: { readonly queue: string | null }, first: number): Promise<PushSource<Alert>>;
    acknowledge(id: string, by: string): Promise<Alert | null>;
    status(): Promise<AlertStatus>;
  };
}
