import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export function isOnPath(program: string): boolean {
  const path = (process.env.PATH ?? "").split(delimiter);
  return path.some((dir) => isExecutable(join(dir, program)));
}
