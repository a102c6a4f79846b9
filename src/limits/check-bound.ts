import { AppError } from "../core/errors.ts";
import type { Bound } from "./request-bounds.ts";

/** @throws AppError with the bound's code when there is more than it lets through. */
export function checkBound({ most, code, what }: Bound, count: number, isAll = true): void {
  if (count <= most) return;
  throw new AppError(code, `expected at most ${most} ${what}, got ${isAll ? count : "more"}`);
}
