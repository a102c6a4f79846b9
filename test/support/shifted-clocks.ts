/**
 * Preloaded into a server process (`NODE_OPTIONS=--import …`): shifts its clocks by WALL_SHIFT_MS and MONOTONIC_SHIFT_MS. Each
 * SIGUSR2 sets the wall clock by WALL_STEP_MS more, and the next one back.
 */
const wallStepMs = Number(process.env.WALL_STEP_MS ?? 0);
const monotonicShiftMs = Number(process.env.MONOTONIC_SHIFT_MS ?? 0);
let wallShiftMs = Number(process.env.WALL_SHIFT_MS ?? 0);
let isStepped = false;

const TrueDate = Date;
const trueNow = Date.now.bind(Date);
const trueMonotonicNow = performance.now.bind(performance);

class ShiftedDate extends TrueDate {
  constructor(...args: readonly unknown[]) {
    if (args.length === 0) super(ShiftedDate.now());
    else super(...(args as [number]));
  }
  static override now(): number {
    return trueNow() + wallShiftMs;
  }
}

globalThis.Date = ShiftedDate as DateConstructor;
performance.now = () => trueMonotonicNow() + monotonicShiftMs;

process.on("SIGUSR2", () => {
  wallShiftMs += isStepped ? -wallStepMs : wallStepMs;
  isStepped = !isStepped;
  process.stderr.write(`wall clock shifted by ${wallShiftMs}\n`);
});
