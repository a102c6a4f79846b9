import type { SourceKind } from "../../settings/source-kinds.ts";
import type { ListSystem } from "./list-system.ts";
import { arq } from "./systems/arq.ts";
import { celery } from "./systems/celery.ts";
import { dramatiq } from "./systems/dramatiq.ts";
import { huey } from "./systems/huey.ts";
import { laravel } from "./systems/laravel.ts";
import { resque } from "./systems/resque.ts";
import { rq } from "./systems/rq.ts";

/** Every job system that is read from lists in Redis, a line each. */
export const listSystems = { celery, rq, laravel, resque, dramatiq, huey, arq } satisfies Partial<
  Record<SourceKind, ListSystem>
>;
