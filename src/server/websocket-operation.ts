import type { GraphQLError } from "graphql";
import { MessageType } from "graphql-ws";
import type { CostReport } from "../core/admission.ts";
import { type EncodedResult, formatError, resultWithCost, withCost } from "./encoded-result.ts";
import type { Invalid } from "./operations.ts";
import type { Subscriber, Subscription } from "./subscriber.ts";
import { asciiJson } from "./text-frame.ts";
import type { DrainListener, WebSocketOutput } from "./websocket-output.ts";

/** The socket of an operation. */
export interface OperationOwner {
  readonly output: WebSocketOutput;
  /** The operation is over. The client did not end it. */
  remove(id: string): void;
  /** The client is not known any more. */
  revoke(reason: string): void;
}

/**
 * An operation of a socket, from its `subscribe` to its end. Nothing else is kept of a subscription for as long as it lasts. Once it is
 * over, it sends no message.
 */
export class SocketOperation implements Subscriber, DrainListener {
  /** Until it is answered, or is a subscription. */
  running: Promise<void> | null = null;
  readonly #id: string;
  readonly #owner: OperationOwner;
  /** That of the owner: each push looks at it. */
  readonly #output: WebSocketOutput;
  /** What a `next` message begins with, before the result. */
  readonly #head: string;
  #subscription: Subscription | null = null;
  #unreported: CostReport | undefined;
  #isOver = false;

  constructor(id: string, owner: OperationOwner) {
    this.#id = id;
    this.#owner = owner;
    this.#output = owner.output;
    this.#head = `{"id":${asciiJson(id)},"type":"${MessageType.Next}","payload":`;
  }

  /** Sends the one result, which ends the operation. */
  async answer(result: EncodedResult, cost: CostReport | undefined): Promise<void> {
    if (!this.#finish()) return;
    await this.#output.send(`${this.#head}${withCost(result, cost)}}`, this.#complete());
  }

  /** Sends why the operation does not run. */
  async refuse(invalid: Invalid): Promise<void> {
    if (!this.#finish()) return;
    await this.#output.send(errorMessage(asciiJson(this.#id), invalid));
    this.#revokeIn(invalid.errors);
  }

  /** @param cost goes with the first push. */
  begin(subscription: Subscription, cost: CostReport | undefined): void {
    if (this.#isOver) {
      subscription.leave();
      return;
    }
    this.#subscription = subscription;
    this.#unreported = cost;
    subscription.begin(this);
  }

  /** The client has ended it, or is gone. */
  leave(): void {
    this.#isOver = true;
    this.#subscription?.leave();
  }

  isReady(): boolean {
    return this.#output.isReady(this);
  }

  drained(): void {
    this.#subscription?.drained();
  }

  write(result: EncodedResult): void {
    const { messageEnd } = this.#unreported === undefined ? result : resultWithCost(result, this.#unreported);
    this.#unreported = undefined;
    this.#output.push(this.#head, messageEnd);
  }

  end(error: GraphQLError | null): void {
    if (!this.#finish()) return;
    const errors = error === null ? [] : [error];
    const message =
      error === null ? this.#complete() : errorMessage(asciiJson(this.#id), { errors, cost: undefined });
    void this.#output.send(message);
    this.#revokeIn(errors);
  }

  /** @returns whether it was not over yet. */
  #finish(): boolean {
    if (this.#isOver) return false;
    this.#isOver = true;
    this.#owner.remove(this.#id);
    return true;
  }

  #complete(): string {
    return `{"id":${asciiJson(this.#id)},"type":"${MessageType.Complete}"}`;
  }

  #revokeIn(errors: readonly GraphQLError[]): void {
    const revoked = errors.find(({ extensions }) => extensions.code === "UNAUTHENTICATED");
    if (revoked !== undefined) this.#owner.revoke(revoked.message);
  }
}

/**
 * An `error` message has no extensions, so its first error carries the cost.
 *
 * @param id in JSON.
 */
export function errorMessage(id: string, { errors, cost }: Pick<Invalid, "errors" | "cost">): string {
  const [first, ...others] = errors.map(formatError);
  const withReport = cost === undefined ? first : { ...first, extensions: { ...first?.extensions, cost } };
  return `{"id":${id},"type":"${MessageType.Error}","payload":${JSON.stringify([withReport, ...others])}}`;
}
