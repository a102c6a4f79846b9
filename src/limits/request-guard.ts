import type { DocumentNode } from "graphql";
import { AppError } from "../core/errors.ts";
import type { RequestGuard } from "../core/request-guard.ts";
import { checkBound } from "./check-bound.ts";
import { type DocumentShape, shapeOf } from "./document-shape.ts";
import { checkJson, checkVariables } from "./json-bounds.ts";
import { checkTexts, parseDocument } from "./parse-document.ts";
import { type RequestBounds, requestBounds } from "./request-bounds.ts";

export interface RequestGuardOptions {
  readonly maxQueues: number;
  readonly maxEvents: number;
  readonly introspection: boolean;
}

export function createRequestGuard(options: RequestGuardOptions): RequestGuard<DocumentNode> {
  const { maxQueues, maxEvents, introspection } = options;
  const bounds = requestBounds(Math.max(maxQueues, maxEvents));
  return {
    maxBodyBytes: bounds.bodyBytes,
    maxErrors: bounds.errors,
    introspection,
    parseJson(text) {
      checkJson(text, bounds);
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
          total = shapeOf(document, total);
          checkShape(total, bounds);
          if (!introspection && total.schemas + total.types > 0) {
            throw new AppError(
              "INTROSPECTION_DISABLED",
              "expected no __schema and no __type: introspection is off",
            );
          }
        },
      };
    },
  };
}

/** @throws AppError what there is too much of. */
export function checkShape(shape: DocumentShape, bounds: RequestBounds): void {
  for (const name of Object.keys(shape) as (keyof DocumentShape)[]) checkBound(bounds[name], shape[name]);
}
