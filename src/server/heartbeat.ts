/** Calls each of many members once in an interval, by one timer: a timer for each of them takes memory, and a turn of the CPU. */
export interface Heartbeat<Member> {
  /** The first call is one interval from now, or up to a twelfth of it earlier. */
  add(member: Member): void;
  delete(member: Member): void;
  members(): Iterable<Member>;
  size(): number;
}

/** Members that came one after the other are called in different ticks of the event loop. */
const beatsPerInterval = 12;

export function createHeartbeat<Member>(
  intervalMs: number,
  call: (member: Member) => void,
): Heartbeat<Member> {
  const groups = Array.from({ length: beatsPerInterval }, () => new Set<Member>());
  let size = 0;
  let beats = 0;
  let timer: NodeJS.Timeout | undefined;

  function groupOfBeat(): Set<Member> {
    return groups[beats % beatsPerInterval] as Set<Member>;
  }

  function beat(): void {
    beats += 1;
    for (const member of groupOfBeat()) call(member);
  }

  return {
    add(member) {
      timer ??= setInterval(beat, intervalMs / beatsPerInterval).unref();
      groupOfBeat().add(member);
      size += 1;
    },
    delete(member) {
      if (!groups.some((group) => group.delete(member))) return;
      size -= 1;
      if (size > 0) return;
      clearInterval(timer);
      timer = undefined;
    },
    *members() {
      for (const group of groups) yield* group;
    },
    size: () => size,
  };
}
