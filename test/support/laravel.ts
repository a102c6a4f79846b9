import { execFileSync } from "node:child_process";
import { join } from "node:path";

/** Laravel's own queue and worker; with {@link startProgram}. */
export const laravelJobs = join(import.meta.dirname, "laravel/jobs.php");

/** Why tests with Laravel are to be skipped; null when they can run, and in CI, where they must. */
export const whyNoLaravel: string | null = process.env.CI === "true" ? null : whatIsMissing();

function whatIsMissing(): string | null {
  try {
    const uses = "Illuminate\\Queue\\RedisQueue::class, Illuminate\\Events\\Dispatcher::class, Redis::class";
    const code = `require "Illuminate/Queue/autoload.php"; require "Illuminate/Events/autoload.php";
      foreach ([${uses}] as $class) class_exists($class) || exit(1);`;
    execFileSync("php", ["-r", code], { stdio: "ignore" });
    return null;
  } catch {
    return "Laravel is not installed: on Debian, apt-get install php-cli php-redis php-illuminate-queue php-illuminate-redis php-illuminate-events";
  }
}
