import type { Redis } from "ioredis";

type Commands = Readonly<Record<string, number>>;

/**
 * Which commands Redis ran meanwhile, by name; those inside of scripts, too. Now and then a timer of the server runs some: what is
 * not as it should be is run again, twice at most.
 */
export async function countCommands<T>(
  control: Redis,
  run: () => Promise<T>,
  isRight: (commands: Commands) => boolean = () => true,
): Promise<{ readonly reply: T; readonly commands: Commands }> {
  for (let again = 2; ; again--) {
    const counted = await countOnce(control, run);
    if (again === 0 || isRight(counted.commands)) return counted;
  }
}

export const nothingRan = (commands: Commands): boolean => Object.keys(commands).length === 0;

async function countOnce<T>(control: Redis, run: () => Promise<T>) {
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

/** Commands that no request caused: INFO reads the counts and checks the feed, PING keeps it open, TIME follows Redis's clock. */
const beside = new Set(["info", "ping", "time"]);

async function commandCounts(control: Redis): Promise<Record<string, number>> {
  const text = await control.info("commandstats");
  const found = text.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm);
  return Object.fromEntries([...found].map(([, name, calls]) => [name, Number(calls)]));
}
