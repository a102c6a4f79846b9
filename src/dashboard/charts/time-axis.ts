/** A tick of the time axis. */
export interface TimeTick {
  /** Since the epoch. */
  readonly seconds: number;
  readonly label: string;
  /** Under the label: the date, where it is another than that of the tick before; else empty. */
  readonly date: string;
}

const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;
const increments = [
  ...[10, 30, minute, 2 * minute, 5 * minute, 10 * minute, 15 * minute, 30 * minute],
  ...[hour, 2 * hour, 3 * hour, 6 * hour, 12 * hour],
  ...[1, 2, 7, 14, 28, 91].map((days) => days * day),
];

/** Round times in the reader's time zone, at most `maxTicks`. */
export function timeTicks(fromSeconds: number, toSeconds: number, maxTicks: number): readonly TimeTick[] {
  const length = toSeconds - fromSeconds;
  const increment = increments.find((seconds) => length / seconds <= maxTicks) ?? 365 * day;
  const ticks: TimeTick[] = [];
  let lastDate = "";
  for (const seconds of roundTimes(fromSeconds, toSeconds, increment)) {
    const date = dates.format(seconds * 1000);
    const isWhole = increment >= day;
    const label = isWhole ? date : (increment < minute ? secondsOfDay : minutesOfDay).format(seconds * 1000);
    ticks.push({ seconds, label, date: isWhole || date === lastDate ? "" : date });
    lastDate = date;
  }
  return ticks;
}

/** Counted from each midnight, so that they are round on the day when clocks are changed, too. */
function* roundTimes(fromSeconds: number, toSeconds: number, increment: number): Generator<number> {
  const start = new Date(fromSeconds * 1000);
  for (let dayOffset = 0; ; dayOffset++) {
    const midnight = new Date(start.getFullYear(), start.getMonth(), start.getDate() + dayOffset);
    if (midnight.getTime() / 1000 > toSeconds) return;
    if (increment >= day) {
      if (dayOffset % (increment / day) === 0 && midnight.getTime() >= fromSeconds * 1000)
        yield midnight.getTime() / 1000;
      continue;
    }
    const [year, month, date] = [midnight.getFullYear(), midnight.getMonth(), midnight.getDate()];
    for (let ofDay = 0; ofDay < day; ofDay += increment) {
      const seconds = new Date(year, month, date, 0, 0, ofDay).getTime() / 1000;
      if (seconds >= fromSeconds && seconds <= toSeconds) yield seconds;
    }
  }
}

const dates = new Intl.DateTimeFormat("en", { day: "numeric", month: "short" });
const clock = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
const minutesOfDay = new Intl.DateTimeFormat("en", clock);
const secondsOfDay = new Intl.DateTimeFormat("en", { ...clock, second: "2-digit" });
