import { Kind, parse, print, visit } from "graphql";
import { postOf } from "./http-connection.ts";

/** Whose requests are measured: each is written as that client sends it, which test/unit/bench-load.test.ts compares. */
export const clientKinds = ["fetch", "Apollo Client", "urql", "KEDA"] as const;
export type ClientKind = (typeof clientKinds)[number];

/** A query whose one variable is `$queues`. */
export interface QueuesOperation {
  readonly query: string;
  readonly queues: readonly string[];
}

/** The bytes of a client's request for some queues. */
export function requestOf(client: ClientKind, operation: QueuesOperation, token: string): Buffer {
  return writers[client](operation, token);
}

/** What Node's `fetch` adds by itself. */
const nodeHeaders = {
  "accept-language": "*",
  "sec-fetch-mode": "cors",
  "user-agent": "node",
  "accept-encoding": "gzip, deflate",
};

const writers: Readonly<Record<ClientKind, (operation: QueuesOperation, token: string) => Buffer>> = {
  fetch: ({ query, queues }, token) =>
    postOf(JSON.stringify({ query, variables: { queues } }), token, { accept: "*/*", ...nodeHeaders }),

  "Apollo Client": ({ query, queues }, token) => {
    const extensions = { clientLibrary: { name: "@apollo/client", version: "4.3.8" } };
    return postOf(JSON.stringify({ variables: { queues }, extensions, query: withTypenames(query) }), token, {
      accept: "application/graphql-response+json,application/json;q=0.9",
      ...nodeHeaders,
    });
  },

  urql: ({ query, queues }, token) =>
    postOf(JSON.stringify({ query: withTypenames(query), variables: { queues } }), token, {
      accept:
        "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed",
      ...nodeHeaders,
    }),

  // Its URL is fixed in the ScaledObject (docs/keda.yaml), so the names are in the document. The headers are those of Go.
  KEDA: ({ query, queues }, token) => {
    const selection = query.slice(query.indexOf("queueLatency")).replace("$queues", JSON.stringify(queues));
    const lines = [
      `GET /graphql?query=${encodeURIComponent(`{ ${selection}`)} HTTP/1.1`,
      "host: 127.0.0.1",
      "user-agent: Go-http-client/1.1",
      `authorization: Bearer ${token}`,
      "accept-encoding: gzip",
    ];
    return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`);
  },
};

const typename = { kind: Kind.FIELD, name: { kind: Kind.NAME, value: "__typename" } } as const;
const typed = new Map<string, string>();

/** The document as a client with a normalized cache sends it: `__typename` in each selection but the outermost, and printed anew. */
function withTypenames(query: string): string {
  const known = typed.get(query);
  if (known !== undefined) return known;
  const document = visit(parse(query), {
    Field: (field) =>
      field.selectionSet === undefined
        ? undefined
        : {
            ...field,
            selectionSet: {
              ...field.selectionSet,
              selections: [...field.selectionSet.selections, typename],
            },
          },
  });
  const text = print(document);
  typed.set(query, text);
  return text;
}
