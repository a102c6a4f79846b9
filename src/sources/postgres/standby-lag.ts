import type { Row } from "./connection.ts";

/**
 * For how long a standby may have missed what its primary writes, in ms: 0 while it receives, and has replayed all that it has
 * received. Else since the last transaction that it replayed, also when its primary has written nothing since: it cannot know.
 */
export const standbyLag = `
  SELECT CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND EXISTS (SELECT 1 FROM pg_stat_wal_receiver) THEN 0
    ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000 END::float8 AS lag_ms`;

/** @throws Error when a standby is further behind than that, or does not say how far. */
export function assertNotBehind(rows: readonly Row[], maxLagMs: number): void {
  const lagMs = rows[0]?.lag_ms ?? Number.POSITIVE_INFINITY;
  if (Number(lagMs) <= maxLagMs) return;
  const since = Number.isFinite(lagMs) ? `for ${Math.round(Number(lagMs) / 1_000)} s` : "since its start";
  throw new Error(
    `this standby has not replayed what its primary writes ${since}: read the primary, or wait`,
  );
}
