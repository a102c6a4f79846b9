/** What a load process is sent. */
export interface LoadRequest {
  readonly id: number;
  readonly task: string;
  readonly options: unknown;
}

/** What it answers: a result or an error. */
export interface LoadReply {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
  /** What share of a core the task has taken. */
  readonly busy?: number;
}
