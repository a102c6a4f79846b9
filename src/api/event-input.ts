import {
  type GraphQLInputField,
  type GraphQLInputObjectType,
  GraphQLScalarType,
  isLeafType,
  isNonNullType,
  Kind,
  type ObjectValueNode,
  print,
  type ValueNode,
} from "graphql";
import type { eventTypes, QueueEvent } from "../core/events.ts";
import { queueNameProblem } from "../core/queue-name.ts";
import type { ArgumentLimits } from "./context.ts";
import { jobProblem, toJobIdentity } from "./job-arguments.ts";
import { ownerOf } from "./queue-arguments.ts";

/** What is wrong with one event. */
export interface EventProblem {
  /** The field that is wrong; null: the event itself is. */
  readonly field: string | null;
  readonly reason: string;
}

export interface RejectedEvent extends EventProblem {
  /** Position in the list, from 0. */
  readonly eventIndex: number;
}

/** An event whose fields have their types; or what is wrong with it. */
type ParsedEvent = EventInput | InvalidEvent;

interface InvalidEvent {
  readonly problem: EventProblem;
}

interface EventInput {
  readonly type: (typeof eventTypes)[number];
  readonly queue: string;
  readonly jobId: string;
  readonly attempt: number;
  readonly at?: Date | null | undefined;
  readonly availableAt?: Date | null | undefined;
}

/** One event as it was sent, in either form. */
interface SentEvent {
  readonly names: readonly string[];
  /** Its value; undefined when it was left out. @throws Error when it has another type. */
  read(field: GraphQLInputField): unknown;
  /** The value as text. */
  show(name: string): string;
}

/**
 * Takes an event's place where requests are validated and coerced. GraphQL refuses a whole request for the first event with a wrong
 * field, and says so in one way for literals and in another for variables; this never refuses: what is wrong with an event is
 * kept in its place, for `recordEvents` to report. Clients see the input type.
 */
export function createEventScalar(type: GraphQLInputObjectType): GraphQLScalarType<ParsedEvent> {
  const fields = Object.values(type.getFields());
  return new GraphQLScalarType<ParsedEvent>({
    name: type.name,
    description: type.description,
    extensions: { isInputObject: true },
    parseValue: (value) => {
      const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
      if (!isObject) return notAnObject(JSON.stringify(value));
      return parseEvent(fields, sentAsValue(value as Readonly<Record<string, unknown>>));
    },
    parseLiteral: (node, variables) =>
      node.kind === Kind.OBJECT
        ? parseEvent(fields, sentAsLiteral(node, variables))
        : notAnObject(print(node)),
  });
}

function sentAsValue(value: Readonly<Record<string, unknown>>): SentEvent {
  return {
    names: Object.keys(value),
    read: ({ name, type }) => {
      const given = value[name];
      const leaf = isNonNullType(type) ? type.ofType : type;
      return given == null || !isLeafType(leaf) ? given : leaf.parseValue(given);
    },
    show: (name) => JSON.stringify(value[name]),
  };
}

function sentAsLiteral(
  { fields }: ObjectValueNode,
  variables: Readonly<Record<string, unknown>> | null | undefined,
): SentEvent {
  const nodes = new Map<string, ValueNode>(fields.map(({ name, value }) => [name.value, value]));
  return {
    names: [...nodes.keys()],
    read: ({ name, type }) => {
      const node = nodes.get(name);
      if (node === undefined || node.kind === Kind.NULL) return node && null;
      // A variable has been coerced to the type that it was declared with, which the leaf takes or not.
      const leaf = isNonNullType(type) ? type.ofType : type;
      if (!isLeafType(leaf)) return undefined;
      if (node.kind !== Kind.VARIABLE) return leaf.parseLiteral(node, variables);
      const given = variables?.[node.name.value];
      return given == null ? given : leaf.parseValue(given);
    },
    show: (name) => {
      const node = nodes.get(name);
      if (node === undefined) return "nothing";
      return node.kind === Kind.VARIABLE ? JSON.stringify(variables?.[node.name.value]) : print(node);
    },
  };
}

const expectations: Readonly<Record<string, string>> = {
  type: "ENQUEUED, DEQUEUED or REMOVED",
  queue: "a string",
  jobId: "a string, or an integer up to 2^53 - 1",
  attempt: "an integer from 0 to 2147483647",
  at: "an RFC 3339 time such as 2026-11-23T08:15:30.250Z",
  availableAt: "an RFC 3339 time such as 2026-11-23T08:15:30.250Z",
};

function parseEvent(fields: readonly GraphQLInputField[], sent: SentEvent): ParsedEvent {
  const parsed: Record<string, unknown> = {};
  let known = 0;
  for (const field of fields) {
    const { name, type, defaultValue } = field;
    try {
      const value = sent.read(field);
      parsed[name] = value === undefined ? defaultValue : value;
      if (value !== undefined) known++;
    } catch {
      return invalid(name, `expected ${expectations[name]}, got ${brief(sent.show(name))}`);
    }
    if (parsed[name] == null && isNonNullType(type)) {
      return invalid(
        name,
        `expected ${expectations[name]}, got ${parsed[name] === null ? "null" : "nothing"}`,
      );
    }
  }
  if (known === sent.names.length) return parsed as unknown as EventInput;
  const unknown = sent.names.find((name) => !fields.some((field) => field.name === name));
  return unknown === undefined
    ? (parsed as unknown as EventInput)
    : invalid(brief(unknown), "an event has no such field");
}

function notAnObject(text: string): InvalidEvent {
  return { problem: { field: null, reason: `expected an event, got ${brief(text)}` } };
}

function invalid(field: string, reason: string): InvalidEvent {
  return { problem: { field, reason } };
}

const maxShown = 60;

/** Answers do not repeat requests at length. */
function brief(text: string): string {
  return text.length <= maxShown ? text : `${text.slice(0, maxShown - 1)}…`;
}

/** Events that can be recorded, and those that cannot. */
export interface CheckedEvents {
  readonly events: readonly QueueEvent[];
  readonly rejected: readonly RejectedEvent[];
}

/** @param sent what {@link createEventScalar} made of the argument; null where a list has null. */
export function checkEvents(sent: readonly unknown[], limits: ArgumentLimits): CheckedEvents {
  const events: QueueEvent[] = [];
  const rejected: RejectedEvent[] = [];
  (sent as readonly (ParsedEvent | null)[]).forEach((event, eventIndex) => {
    const problem = event === null ? notAnObject("null").problem : problemOf(event, limits);
    if (problem !== null) rejected.push({ eventIndex, ...problem });
    else events.push(toQueueEvent(event as EventInput));
  });
  return { events, rejected };
}

function problemOf(event: ParsedEvent, limits: ArgumentLimits): EventProblem | null {
  if ("problem" in event) return event.problem;
  const { type, queue, availableAt } = event;
  const nameProblem = queueNameProblem(queue);
  if (nameProblem !== null) return { field: "queue", reason: nameProblem };
  const source = ownerOf(queue, limits);
  if (source !== null) {
    return { field: "queue", reason: `queues under "${source}/" are managed by source "${source}"` };
  }
  const ofJob = jobProblem(event);
  if (ofJob !== null) return ofJob;
  if (availableAt != null && type !== "ENQUEUED") {
    return { field: "availableAt", reason: `only an ENQUEUED event has one, this one is ${type}` };
  }
  for (const field of ["at", "availableAt"] as const) {
    const reason = timeProblem(event[field]?.getTime());
    if (reason !== null) return { field, reason };
  }
  return null;
}

/** What is older was meant otherwise, as seconds in the place of milliseconds are. */
const minTimeMs = Date.UTC(2000);
/** A fixed instant, as the other one is: a batch that is sent again must not be judged otherwise. */
const maxTimeMs = Date.UTC(2100);

function timeProblem(timeMs: number | undefined): string | null {
  if (timeMs === undefined) return null;
  if (timeMs < minTimeMs) return "expected a time since 2000; are these seconds in place of milliseconds?";
  return timeMs >= maxTimeMs ? "expected a time before 2100" : null;
}

function toQueueEvent(event: EventInput): QueueEvent {
  return {
    type: event.type,
    queue: event.queue,
    ...toJobIdentity(event),
    atMs: event.at?.getTime() ?? null,
    availableAtMs: event.availableAt?.getTime() ?? null,
  };
}
