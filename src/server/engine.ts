import type { DocumentNode, ExecutionArgs, GraphQLError, GraphQLSchema } from "graphql";
import { validate } from "graphql";
import { createYoga, type Plugin } from "graphql-yoga";
import type { RequestGuard } from "../core/request-guard.ts";
import { execute, type JsonResult } from "../executor/execute.ts";
import type { Logger } from "../runtime/logger.ts";
import { createTextKeyedCache } from "../runtime/text-keyed-cache.ts";

export interface EngineOptions {
  readonly schema: GraphQLSchema;
  /** The schema that documents are validated against. */
  readonly requestSchema: GraphQLSchema;
  /** What a client may see of an error. */
  readonly maskError: (error: unknown) => GraphQLError;
  readonly guard: RequestGuard<DocumentNode>;
  readonly logger: Logger;
}

export type Engine = ReturnType<typeof createEngine>;

/**
 * Yoga as the engine: it parses, validates and executes, with its caches, its masking and its plugins. It never reads a socket:
 * the transports do.
 */
export function createEngine({ schema, requestSchema, maskError, guard, logger }: EngineOptions) {
  const log = (...message: readonly unknown[]) => logger.debug({ message }, "message of Yoga");
  const yoga = createYoga({
    schema,
    plugins: [useBounds(guard), useJsonResults()],
    // The caches below are faster, and bounded by the length of documents.
    parserAndValidationCache: false,
    maskedErrors: { maskError },
    // Errors of clients are answered; the mask logs the unexpected ones, once.
    logging: { debug: log, info: log, warn: log, error: log },
  });
  const enveloped = yoga.getEnveloped({});
  const documents = createTextKeyedCache<DocumentNode>();
  const errorsOf = new WeakMap<DocumentNode, readonly GraphQLError[]>();
  return {
    parse(source: string): DocumentNode {
      const known = documents.get(source);
      if (known !== undefined) return known;
      const document: DocumentNode = enveloped.parse(source);
      documents.set(source, document);
      return document;
    },
    validate(document: DocumentNode): readonly GraphQLError[] {
      const known = errorsOf.get(document);
      if (known !== undefined) return known;
      const errors: readonly GraphQLError[] = enveloped.validate(requestSchema, document);
      errorsOf.set(document, errors);
      return errors;
    },
    /** What was executed is masked, and handed on as it is. */
    execute: enveloped.execute as (args: ExecutionArgs) => JsonResult | Promise<JsonResult>,
    dispose: () => yoga.dispose(),
  };
}

/** Parses within the bounds of a document, and stops to validate when there are more errors than a response may have. */
function useBounds(guard: RequestGuard<DocumentNode>): Plugin {
  return {
    onParse({ setParseFn }) {
      setParseFn((source) => guard.parse(String(source)));
    },
    onValidate({ setValidationFn }) {
      // graphql adds one error that says that there are more.
      setValidationFn((schema, document, rules) =>
        validate(schema, document, rules, { maxErrors: guard.maxErrors - 1 }),
      );
    },
  };
}

function useJsonResults(): Plugin {
  return {
    onExecute({ setExecuteFn }) {
      setExecuteFn(execute as never);
    },
  };
}
