import type { Row } from "./connection.ts";

/**
 * How much of its primary's log a standby has received and replayed, in bytes; both null while it does not receive. `lag_ms`: since the
 * last transaction that it replayed, also when its primary has written none since.
 */
export const standbyLag = `
  SELECT (log.received - '0/0')::float8 AS received, (log.replayed - '0/0')::float8 AS replayed,
    (extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000)::float8 AS lag_ms
  FROM (SELECT 1) always LEFT JOIN (SELECT pg_last_wal_receive_lsn() AS received, pg_last_wal_replay_lsn() AS replayed
    WHERE EXISTS (SELECT 1 FROM pg_stat_wal_receiver)) log ON true`;

export interface StandbyCheck {
  /**
   * @param nowMs by the monotonic clock, of the reading
   * @throws Error when the standby is further behind than `maxLagMs`, or does not say how far.
   */
  assertNotBehind(rows: readonly Row[], nowMs: number): void;
}

/** Places in the log that are remembered: a standby that is far behind gets no more of them until it has replayed the first. */
const maxPlaces = 100;

/**
 * Decides by the log whether a standby is behind: what it had received at an earlier check has to be replayed now. The time of the
 * last transaction is no measure: a primary without commits is old at once when anything else is written.
 */
export function createStandbyCheck(maxLagMs: number): StandbyCheck {
  let unreplayed: readonly { readonly place: number; readonly atMs: number }[] = [];

  function lagMsOf({ received, replayed, lag_ms: sinceLastMs }: Row, nowMs: number): number {
    if (received == null || replayed == null)
      return sinceLastMs == null ? Number.POSITIVE_INFINITY : Number(sinceLastMs);
    const end = Number(received);
    // A place that was not received is one of another server.
    unreplayed = unreplayed.filter(({ place }) => place > Number(replayed) && place <= end);
    if (end > Number(replayed) && end !== unreplayed.at(-1)?.place && unreplayed.length < maxPlaces)
      unreplayed = [...unreplayed, { place: end, atMs: nowMs }];
    return nowMs - (unreplayed[0]?.atMs ?? nowMs);
  }

  return {
    assertNotBehind(rows, nowMs) {
      const lagMs = lagMsOf(rows[0] ?? {}, nowMs);
      if (lagMs <= maxLagMs) return;
      const since = Number.isFinite(lagMs) ? `for ${Math.round(lagMs / 1_000)} s` : "since its start";
      throw new Error(
        `this standby has not replayed what its primary writes ${since}: read the primary, or wait`,
      );
    },
  };
}
