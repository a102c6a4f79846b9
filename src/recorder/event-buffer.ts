/** An event that has not been sent. */
export interface BufferedEvent {
  readonly queue: string;
  readonly json: string;
}

export interface EventBufferOptions {
  readonly maxEvents: number;
  readonly maxBytes: number;
}

/** Bounds of one batch. A server with lower limits makes them smaller. */
export interface BatchBounds {
  events: number;
  queues: number;
  readonly bytes: number;
}

/** The events that wait to be sent, in order and within bounds. */
export interface EventBuffer {
  readonly events: number;
  /** @returns false when there is no place for it. */
  add(event: BufferedEvent): boolean;
  /** Takes out the first events, as many as fit into one batch. */
  take(bounds: BatchBounds): readonly BufferedEvent[];
}

/** What an event takes beside its JSON: its object and its place. In bytes. */
const overheadBytes = 64;

export function createEventBuffer({ maxEvents, maxBytes }: EventBufferOptions): EventBuffer {
  let waiting: BufferedEvent[] = [];
  /** How many of `waiting` were taken: moving the others at each batch would take as long as there are many. */
  let taken = 0;
  let bytes = 0;
  const sizeOf = ({ json }: BufferedEvent) => json.length + overheadBytes;
  return {
    get events() {
      return waiting.length - taken;
    },
    add(event) {
      const size = sizeOf(event);
      if (waiting.length - taken >= maxEvents || bytes + size > maxBytes) return false;
      waiting.push(event);
      bytes += size;
      return true;
    },
    take(bounds) {
      const queues = new Set<string>();
      let batchBytes = 0;
      let end = taken;
      for (; end < waiting.length && end - taken < bounds.events; end++) {
        const event = waiting[end] as BufferedEvent;
        batchBytes += event.json.length + 1;
        queues.add(event.queue);
        if (end > taken && (batchBytes > bounds.bytes || queues.size > bounds.queues)) break;
      }
      const batch = waiting.slice(taken, end);
      taken = end;
      for (const event of batch) bytes -= sizeOf(event);
      if (2 * taken >= waiting.length) {
        waiting = waiting.slice(taken);
        taken = 0;
      }
      return batch;
    },
  };
}
