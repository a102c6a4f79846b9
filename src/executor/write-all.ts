import { createTimeSlices } from "../runtime/time-slices.ts";

export type MaybePromise<T> = T | Promise<T>;
/** A value as JSON; null: there is none, which its type may forbid. */
export type Json = string | null;

/** 5 ms each; all lists that are written at the same time share them. */
const slices = createTimeSlices(5);

/** Writes the values of one object or list at once. */
export function writeAll(
  length: number,
  writeOne: (index: number) => MaybePromise<Json>,
): MaybePromise<readonly Json[]> {
  const values: MaybePromise<Json>[] = [];
  try {
    for (let index = 0; index < length; index++) values.push(writeOne(index));
  } catch (error) {
    if (!values.some(isPromise)) throw error;
    // What has begun ends before that, so that its errors are in the result, and none of it is left unhandled.
    return Promise.allSettled(values).then(() => Promise.reject(error));
  }
  return values.some(isPromise) ? Promise.all(values) : (values as Json[]);
}

/** Thousands of elements take longer to write than other requests should wait. */
export async function writeInSlices(
  length: number,
  writeItem: (index: number) => MaybePromise<Json>,
): Promise<readonly Json[]> {
  const values: Promise<Json>[] = [];
  for (let index = 0; index < length; index++) {
    if (!slices.has()) await slices.next();
    const value = new Promise<Json>((resolve) => resolve(writeItem(index)));
    // It is awaited with the others, when all are begun.
    value.catch(() => {});
    values.push(value);
  }
  return Promise.all(values);
}

export function isPromise<T>(value: MaybePromise<T> | unknown): value is Promise<T> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
