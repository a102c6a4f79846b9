import type { OutgoingHttpHeaders } from "node:http";
import type { ExecutionResult } from "graphql";
import { type FetchAPI, processRegularResult } from "graphql-yoga";

/** An answer as it goes out. */
export interface Written {
  /** JSON. */
  readonly text: string;
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
}

/** Writes a result as Yoga does for whoever takes JSON, but hands it over as it is: a Response would be read again. */
export function writtenResult(result: ExecutionResult): Written {
  return processRegularResult(result, notFetched, "application/json") as unknown as Written;
}

function AsItIs(this: Written, text: string, init: Omit<Written, "text">): void {
  Object.assign(this, init, { text });
}

/** Of the fetch API Yoga takes here but the one thing. */
const notFetched = { Response: AsItIs } as unknown as FetchAPI;
