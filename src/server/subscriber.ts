import type { GraphQLError } from "graphql";
import type { EncodedResult } from "./encoded-result.ts";

/** A transport's end of a subscription. */
export interface Subscriber {
  /**
   * Whether all that was written has left for the socket, so that a push would leave at once. If not, the transport calls
   * `drained` of the subscription as soon as it has.
   */
  isReady(): boolean;
  write(result: EncodedResult): void;
  /** The subscription is over: null, or the error for which it was ended. */
  end(error: GraphQLError | null): void;
}

/** A client's part in a group. */
export interface Subscription {
  /** Begins to write to the subscriber, once. */
  begin(subscriber: Subscriber): void;
  /** The subscriber, which was not ready, is ready now. */
  drained(): void;
  /** The client leaves, or its connection is gone. Nothing more is written. */
  leave(): void;
  /** Ends it with an error for the subscriber. */
  fail(error: GraphQLError): void;
}

/** Why a subscription cannot be opened. */
export interface Refusal {
  readonly errors: readonly GraphQLError[];
}
