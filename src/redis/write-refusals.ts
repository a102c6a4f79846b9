import type { Redis } from "ioredis";
import type { RedisClient } from "./connect.ts";
import { mastersOf, nodeName } from "./masters.ts";

/** A Redis that answers and refuses writes. */
export interface RefusingNode {
  /** Host and port, or the path of a Unix socket. */
  readonly node: string;
  /** What it is called and says: `OOM ...` when it is full, `MISCONF ...` when it cannot save, `READONLY ...` of a replica. */
  readonly refusal: string;
}

/** Writes nothing, but is refused whenever a script is that may write. */
const probe = "#!lua\nreturn 1";
const refusalCodes = /^(OOM|MISCONF|READONLY|NOREPLICAS)\b/;

/** The masters that refuse writes now. One that does not answer, or not to this, is left out. Never rejects. */
export async function findRefusingNodes(redis: RedisClient): Promise<readonly RefusingNode[]> {
  const masters = mastersOf(redis);
  const refusals = await Promise.all(masters.map(refusalOf));
  return masters.flatMap((master, i) => {
    const refusal = refusals[i];
    return refusal == null ? [] : [{ node: nodeName(master), refusal }];
  });
}

async function refusalOf(master: Redis): Promise<string | null> {
  try {
    await master.eval(probe, 0);
    return null;
  } catch (error) {
    return error instanceof Error && refusalCodes.test(error.message) ? error.message : null;
  }
}
