import type { OutageLog } from "../runtime/outage-log.ts";

/** An outage that several loops log together: it begins when one of them fails, and ends when none does. */
export interface SharedOutage {
  join(): OutageMember;
}

export interface OutageMember {
  failed(error: unknown): void;
  recovered(): void;
  /** A member that has left is not waited for, and logs nothing more. */
  leave(): void;
}

export function createSharedOutage(outage: OutageLog): SharedOutage {
  const failing = new Set<OutageMember>();
  return {
    join() {
      let hasLeft = false;
      const member: OutageMember = {
        failed(error) {
          if (hasLeft) return;
          failing.add(member);
          outage.failed(error);
        },
        recovered() {
          if (hasLeft) return;
          failing.delete(member);
          if (failing.size === 0) outage.recovered();
        },
        leave() {
          hasLeft = true;
          failing.delete(member);
        },
      };
      return member;
    },
  };
}
