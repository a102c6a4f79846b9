import type { DocumentNode } from "graphql";
import { AppError } from "../core/errors.ts";
import type { RequestGuard } from "../core/request-guard.ts";
import { charactersOf } from "./cost.ts";
import { checkShape, checkTexts, type DocumentShape, parseDocument, shapeOf } from "./document-bounds.ts";
import { checkJson, checkVariables } from "./json-bounds.ts";
import { checkBound, requestBounds } from "./request-bounds.ts";

export interface RequestGuardOptions {
  readonly maxQueues: number;
  readonly maxEvents: number;
  readonly introspection: boolean;
  /**
   * Checks a document that is not validated yet by the least that it may cost.
   *
   * @throws AppError MAX_COST_EXCEEDED.
   */
  readonly checkMinCost?: (document: DocumentNode) => void;
}

/** Validating shorter documents takes no longer than pricing them. */
const shortCharacters = 4_000;

export function createRequestGuard(options: RequestGuardOptions): RequestGuard<DocumentNode> {
  const { maxQueues, maxEvents, introspection, checkMinCost } = options;
  const bounds = requestBounds(Math.max(maxQueues, maxEvents));
  const check = (text: string) => checkJson(text, bounds);
  /** Documents that were within the bounds when no other one came with them. */
  const allowed = new WeakSet<DocumentNode>();
  return {
    maxBodyBytes: bounds.bodyBytes,
    maxErrors: bounds.errors,
    introspection,
    checkJson: check,
    parseJson(text) {
      check(text);
      return JSON.parse(text);
    },
    parse: (source) => parseDocument(source, bounds),
    begin(batch) {
      checkTexts(
        batch.flatMap((params) => (typeof params?.query === "string" ? [params.query] : [])),
        bounds,
      );
      let values = 0;
      for (const params of batch) values = checkVariables(params?.variables, bounds, values);

      let total: DocumentShape | undefined;
      return {
        spend(document) {
          const isFirst = total === undefined;
          total = shapeOf(document, total);
          if (isFirst && allowed.has(document)) return;
          checkShape(total, bounds);
          // What costs too much already is not worth validating.
          if (total.spreads > 0 || charactersOf(document) > shortCharacters) checkMinCost?.(document);
          checkBound(bounds.writtenOut, total.writtenOut, false);
          if (!introspection && total.schemas + total.types > 0) {
            throw new AppError(
              "INTROSPECTION_DISABLED",
              "expected no __schema and no __type: introspection is off",
            );
          }
          if (isFirst) allowed.add(document);
        },
      };
    },
  };
}
