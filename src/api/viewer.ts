import { type Scope, scopes } from "../core/admission.ts";
import { builder } from "./builder.ts";

const ScopeEnum = builder.enumType("Scope", {
  description: "What a caller may do. No scope includes another.",
  values: {
    READ: { value: "read", description: "All queries and subscriptions that name no other scope." },
    RECORD: { value: "record", description: "`recordEvents`." },
    ADMIN: { value: "admin", description: "What changes queues and alerts, and `waitingJobs`." },
  } satisfies Record<Uppercase<Scope>, { readonly value: Scope; readonly description: string }>,
});

interface Viewer {
  readonly scopes: ReadonlySet<Scope>;
}

const ViewerType = builder.objectRef<Viewer>("Viewer").implement({
  description: "The caller.",
  fields: (t) => ({
    scopes: t.field({
      type: [ScopeEnum],
      description: "The scopes of its token; all of them where the server has no tokens.",
      resolve: (viewer) => scopes.filter((scope) => viewer.scopes.has(scope)),
    }),
  }),
});

builder.queryField("viewer", (t) =>
  t.field({
    type: ViewerType,
    // A token with any scope may ask what it may do.
    extensions: { scope: null },
    description: "The caller, and what it may do. Needs no scope.",
    resolve: (_, _args, { scopes: ofCaller }) => ({ scopes: ofCaller }),
  }),
);
