import { setImmediate } from "node:timers/promises";
import type { Alert } from "../core/alerts.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../runtime/logger.ts";
import { parseStoredAlert } from "./stored-alert.ts";

/** Reads records of alerts, skips those that are not alerts, and logs each of these once. */
export interface RecordReader {
  /** How many records were skipped when each key was read last. */
  readonly unreadable: number;
  /**
   * Reads all records of a key. One that is as it was before is not parsed again, and others can run in between: there may be ten
   * thousand.
   *
   * @param records each with its field, which is the alert's id; "" where there is none.
   * @returns those that are alerts, in order.
   */
  read(key: string, records: readonly (readonly [field: string, record: string])[]): Promise<Alert[]>;
  /** Null when it is not the record of this alert. */
  parse(id: string, record: string): Alert | null;
}

interface Reading {
  /** By field and record; null for one that is not an alert. */
  readonly parsed: ReadonlyMap<string, Alert | null>;
  readonly unreadable: number;
}

/** Takes some milliseconds. */
const parsedAtOnce = 200;

export function createRecordReader(logger: Logger): RecordReader {
  const readings = new Map<string, Reading>();

  function parse(key: string, field: string, record: string): Alert | null {
    try {
      return parseRecord(field, record);
    } catch (error) {
      const about = { key, record: field || record.slice(0, 200), err: messageOf(error).slice(0, 200) };
      logger.error(about, "skipped an unreadable alert");
      return null;
    }
  }

  return {
    get unreadable() {
      return [...readings.values()].reduce((sum, { unreadable }) => sum + unreadable, 0);
    },
    async read(key, records) {
      const before = readings.get(key)?.parsed;
      const parsed = new Map<string, Alert | null>();
      const alerts: Alert[] = [];
      let unreadable = 0;
      let parsedNow = 0;
      for (const [field, record] of records) {
        const name = `${field}\n${record}`;
        let alert = before?.get(name);
        if (alert === undefined) {
          alert = parse(key, field, record);
          parsedNow += 1;
          if (parsedNow % parsedAtOnce === 0) await setImmediate();
        }
        parsed.set(name, alert);
        if (alert === null) unreadable += 1;
        else alerts.push(alert);
      }
      readings.set(key, { parsed, unreadable });
      return alerts;
    },
    parse(id, record) {
      try {
        return parseRecord(id, record);
      } catch {
        return null;
      }
    },
  };
}

/** @throws Error when it is not the record of an alert with this id; "": of any. */
function parseRecord(id: string, record: string): Alert {
  const alert = parseStoredAlert(record);
  if (id !== "" && alert.id !== id) throw new Error(`it has the id ${alert.id}`);
  return alert;
}
