const time = new Intl.DateTimeFormat("en", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short" });

/** The time of day here: `14:03:22`. */
export function formatTime(instant: Date | string): string {
  return time.format(new Date(instant));
}

/** With the day, unless it is the day of `now`: `28 Nov, 14:03:22`. */
export function formatInstant(instant: Date, now: Date): string {
  const isToday = instant.toDateString() === now.toDateString();
  return isToday ? formatTime(instant) : `${day.format(instant)}, ${formatTime(instant)}`;
}
