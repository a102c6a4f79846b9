import { signal } from "@preact/signals";
import { useLayoutEffect, useState } from "preact/hooks";
import { type ApiError, advice } from "../graphql/api-error.ts";
import { connection } from "../graphql/connection.ts";
import { Notice } from "./notice.tsx";

/** Of each part of the page that has one: an error that is not of the part, but of the whole server. */
const outages = signal<ReadonlyMap<object, ApiError>>(new Map());

const codesOfOutages: ReadonlySet<string> = new Set(["NETWORK", "SERVICE_UNAVAILABLE", "THROTTLED"]);

/**
 * Shows the error in {@link Outages}, if the whole server has it: once, however many parts of the page have it. Only for what the
 * dashboard asks again by itself: any other error would stay after the outage.
 *
 * @returns whether it is shown there.
 */
export function useOutage(error: ApiError | null): boolean {
  const [part] = useState({});
  const outage = error !== null && codesOfOutages.has(error.code) ? error : null;
  useLayoutEffect(() => {
    if (outage === null) return;
    outages.value = new Map(outages.peek()).set(part, outage);
    return () => {
      outages.value = new Map([...outages.peek()].filter(([each]) => each !== part));
    };
  }, [outage]);
  return outage !== null;
}

/** At the top of the page. What the banner says of a lost connection is not said again. */
export function Outages() {
  const byCode = new Map([...outages.value.values()].map((error) => [error.code, error]));
  if (connection.value.state === "lost") byCode.delete("NETWORK");
  if (byCode.size === 0) return null;
  return (
    <div class="outages">
      {[...byCode].map(([code, error]) => (
        <Notice key={code} kind="error">
          {advice(error, true)}
        </Notice>
      ))}
    </div>
  );
}
