import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";

/** What V8 writes into a `.cpuprofile`, as far as it is read here. */
export interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: CallFrame }[];
  /** Which node was running, at each sample, and how many µs later than the sample before. */
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
}

/**
 * Where the most time was spent, one line each: first by package and room, then by function. The time of a function is its
 * own, without that of what it called.
 */
export function hottest(profile: CpuProfile, count: number): readonly string[] {
  return [...shares(profile, placeOf).slice(0, count), "", ...shares(profile, functionOf).slice(0, count)];
}

/** The same of every profile in a directory, each after its file's name. */
export function hottestIn(directory: string, count: number): string {
  const files = readdirSync(directory).filter((file) => file.endsWith(".cpuprofile"));
  const parts = files.map((file) => {
    const profile = JSON.parse(readFileSync(join(directory, file), "utf8")) as CpuProfile;
    return [join(directory, file), ...hottest(profile, count)].join("\n");
  });
  return `${parts.join("\n\n")}\n`;
}

function shares(
  { nodes, samples, timeDeltas }: CpuProfile,
  nameOf: (frame: CallFrame) => string,
): readonly string[] {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
  const us = new Map<string, number>();
  samples.forEach((id, i) => {
    const name = names.get(id) ?? "?";
    us.set(name, (us.get(name) ?? 0) + (timeDeltas[i] ?? 0));
  });
  us.delete("(idle)");
  const total = [...us.values()].reduce((sum, each) => sum + each, 0);
  const sorted = [...us].sort(([, a], [, b]) => b - a);
  return sorted.map(([name, time]) => `${((100 * time) / total).toFixed(1).padStart(5)} %  ${name}`);
}

function placeOf(frame: CallFrame): string {
  if (frame.url === "")
    return frame.functionName.startsWith("(") ? frame.functionName : "V8 and system calls";
  if (frame.url.startsWith("node:")) return "Node's own modules";
  const path = pathOf(frame.url);
  return /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? /^(src\/[^/]+)/.exec(path)?.[1] ?? path;
}

function functionOf(frame: CallFrame): string {
  const name = frame.functionName || "(anonymous)";
  return frame.url === "" ? name : `${name}  ${pathOf(frame.url)}:${frame.lineNumber + 1}`;
}

function pathOf(url: string): string {
  return url.startsWith("file:") ? relative(process.cwd(), new URL(url).pathname) : url;
}
