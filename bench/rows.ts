import { commandsRow } from "./rows/commands.ts";
import { costRow } from "./rows/cost.ts";
import { delayRow } from "./rows/delay.ts";
import { depthRow } from "./rows/depth.ts";
import { faktoryRow } from "./rows/faktory.ts";
import { foldRows } from "./rows/fold.ts";
import { idleRow } from "./rows/idle.ts";
import { memoryRow } from "./rows/memory.ts";
import { pushRow } from "./rows/push.ts";
import { queryRows } from "./rows/query.ts";
import { refusalsRow } from "./rows/refusals.ts";
import type { RowGroup } from "./support/row.ts";

/** Everything that `npm run bench` measures. */
export const rowGroups: readonly RowGroup[] = [
  queryRows,
  pushRow,
  commandsRow,
  foldRows,
  depthRow,
  delayRow,
  memoryRow,
  faktoryRow,
  refusalsRow,
  idleRow,
  costRow,
];
