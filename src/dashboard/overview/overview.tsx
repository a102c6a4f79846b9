import { useComputed, useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { announce } from "../announcements.tsx";
import { healths, healthWords } from "../format/health-words.ts";
import { queuePage } from "../graphql/documents.ts";
import { graphiqlHref, pageGraphiqlHref } from "../graphql/graphiql-link.ts";
import { useKeys } from "../keys.ts";
import { ErrorNotice } from "../parts/error-notice.tsx";
import { Notice } from "../parts/notice.tsx";
import { graphqlPath, params } from "../route.ts";
import { choiceOf, isFiltered } from "./choice.ts";
import { AllOk, NoMatch, NoQueuesYet } from "./empty-state.tsx";
import { Filters } from "./filters.tsx";
import { HealthFilter } from "./health-filter.tsx";
import { createQueueStore, type LoadedPage, pageVariables, type Range } from "./queue-store.ts";
import { QueueTable } from "./queue-table.tsx";

/** All queues, worst first. */
export function Overview() {
  const range = useSignal<Range>({ offset: 0, first: 40 });
  const choice = useComputed(() => choiceOf(params.value));
  // As a text, so that an equal choice is no other subscription.
  const asked = useComputed(() => JSON.stringify(pageVariables(choice.value, range.value)));
  const variables = useComputed(() => JSON.parse(asked.value) as ReturnType<typeof pageVariables>);
  const store = useMemo(() => createQueueStore(variables), []);
  useEffect(() => store.stop, []);
  useEffect(() => {
    pageGraphiqlHref.value = graphiqlHref(queuePage, variables.value);
    return () => {
      pageGraphiqlHref.value = graphqlPath;
    };
  }, [asked.value]);

  const search = useRef<HTMLInputElement>(null);
  useKeys({
    "/"() {
      search.current?.select();
      search.current?.focus();
      return true;
    },
    Escape() {
      if (document.activeElement !== search.current) return false;
      search.current?.blur();
      return true;
    },
  });

  const page = store.page.value;
  const { isTv } = choice.value;
  useEffect(() => announce(summaryOf(page)), [summaryOf(page)]);
  return (
    <main class="overview">
      <h1 class="visually-hidden">Queues</h1>
      <div class="toolbar">
        <HealthFilter counts={page?.healthCounts ?? null} chosen={choice.value.healths} />
        {!isTv && <Filters choice={choice.value} sources={page?.sourceCounts ?? null} search={search} />}
      </div>
      <ErrorNotice error={store.error.value} isAtTop />
      {page !== null && page.omitted > 0 && (
        <Notice kind="info">
          {page.omitted} more queues are not shown: they could not be read, or there are more than 10,000.
        </Notice>
      )}
      {(page !== null || store.error.value === null) && (
        <Content page={page} onRange={(next) => (range.value = next)} />
      )}
    </main>
  );
}

interface ContentProps {
  readonly page: LoadedPage | null;
  readonly onRange: (range: Range) => void;
}

function Content({ page, onRange }: ContentProps) {
  const choice = choiceOf(params.value);
  if (page === null) return <p class="loading-page">Loading queues…</p>;
  if (page.total > 0) return <QueueTable page={page} onRange={onRange} />;
  if (choice.isTv && choice.healths.length === 0) {
    const count = page.healthCounts.reduce((sum, one) => sum + one.count, 0);
    if (count > 0) return <AllOk count={count} isAll={page.omitted === 0 && !isFiltered(choice)} />;
  }
  return isFiltered(choice) ? <NoMatch search={choice.search} /> : <NoQueuesYet />;
}

/** What a screen reader says of a push: the counts of what is not OK. */
function summaryOf(page: LoadedPage | null): string {
  if (page === null) return "";
  // Of no queue it is not known that it is OK.
  if (page.healthCounts.every(({ count }) => count === 0)) return "Queues: none";
  const counts = healths.flatMap((health) => {
    const count = page.healthCounts.find((one) => one.health === health)?.count ?? 0;
    return health === "OK" || count === 0 ? [] : [`${count} ${healthWords[health].toLowerCase()}`];
  });
  return `Queues: ${counts.length === 0 ? "all OK" : counts.join(", ")}`;
}
