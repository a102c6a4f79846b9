import type { Redis } from "ioredis";

/** Which commands Redis ran meanwhile, by name; those inside of scripts, too. */
export async function countCommands<T>(
  control: Redis,
  run: () => Promise<T>,
): Promise<{ readonly reply: T; readonly commands: Record<string, number> }> {
  const before = await commandCounts(control);
  const reply = await run();
  const after = await commandCounts(control);
  const commands = Object.fromEntries(
    Object.entries(after)
      .map(([name, calls]) => [name, calls - (before[name] ?? 0)] as const)
      .filter(([name, calls]) => calls > 0 && !beside.has(name)),
  );
  return { reply, commands };
}

/** Ours, that asks for the counts; and the feed's sign of life every few seconds. */
const beside = new Set(["info", "ping"]);

async function commandCounts(control: Redis): Promise<Record<string, number>> {
  const text = await control.info("commandstats");
  const found = text.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm);
  return Object.fromEntries([...found].map(([, name, calls]) => [name, Number(calls)]));
}
