import { formatAtLeast, formatCount, formatRate } from "../format/count.ts";
import { formatDuration, formatWait } from "../format/duration.ts";
import { DocsLink } from "../parts/docs-link.tsx";
import { HealthLabel } from "../parts/health.tsx";
import { Instant } from "../parts/instant.tsx";
import { Latency } from "../parts/latency.tsx";
import { explainForecast, explainHealth } from "./explain-health.ts";
import { explainSigns } from "./explain-signs.ts";
import type { QueueNow } from "./queue-feed.ts";

/** What is known of a queue now: the number, why it has its health, and what comes next. */
export function NowPanel({ now }: { readonly now: QueueNow }) {
  const { reason, advice } = explainHealth(now);
  return (
    <section class="now-panel" aria-label="Now" data-health={now.health}>
      <p class="now-latency">
        <span class="lead">
          Latency
          {now.stale && (
            <>
              , as of <Instant at={now.measuredAt} />
            </>
          )}
        </span>
        <Latency of={now} />
      </p>
      <div class="now-why">
        <p class="now-health">
          <HealthLabel health={now.health} />
          {now.oldestSince !== null && (
            <span>
              oldest job waits since <Instant at={now.oldestSince} />
            </span>
          )}
        </p>
        <p class="now-reason">{reason}</p>
        {advice !== null && <p class="now-advice">{advice}</p>}
      </div>
      <dl class="facts">
        {now.overtaken !== null && now.overtaken > 0 && (
          <>
            <Fact name="Overtaken" value={formatCount(now.overtaken)} />
            <Fact name="Latency in order" value={formatDuration(now.inOrderLatency ?? 0)} />
          </>
        )}
        <Fact name="Objective" value={now.objective === null ? "none" : formatDuration(now.objective)} />
        <Fact
          name="Depth"
          value={now.depth === null ? unknown : formatAtLeast(now.depth, now.depthIsLowerBound)}
        />
        <Fact name="Scheduled" value={count(now.scheduled)} />
        {now.inFlight !== null && <Fact name="In flight" value={formatCount(now.inFlight)} />}
        {now.inFlightIdle !== null && (
          <Fact name="Oldest in flight" value={`for ${formatDuration(now.inFlightIdle)}`} />
        )}
        <Fact name="In" value={rate(now.throughput?.enqueuedPerSecond, now.throughput?.isLowerBound)} />
        <Fact name="Out" value={rate(now.throughput?.dequeuedPerSecond, now.throughput?.isLowerBound)} />
        <Fact name="Wait p95, 1 m" value={waitOf(now)} />
        {now.lost !== null && now.lost > 0 && (
          <Fact name="Dropped after MAX_WAIT" value={formatCount(now.lost)} />
        )}
        {now.clockSkew !== null && Math.abs(now.clockSkew) >= 1 && (
          <Fact name="Producer's clock" value={skew(now.clockSkew)} />
        )}
      </dl>
      <Signs of={now} />
      {now.state !== "MISSING" && (
        <div class="now-forecast">
          <h2>If the last five minutes continue</h2>
          {explainForecast(now).map((sentence) => (
            <p key={sentence}>{sentence}</p>
          ))}
        </div>
      )}
    </section>
  );
}

/** Why numbers have signs. */
function Signs({ of }: { readonly of: QueueNow }) {
  const sentences = explainSigns(of);
  if (sentences.length === 0) return null;
  return (
    <div class="now-signs">
      <h2>Signs beside the numbers</h2>
      {sentences.map((sentence) => (
        <p key={sentence}>{sentence}</p>
      ))}
      <p>
        <DocsLink page={of.source === "events" ? "fields.md" : "sources.md"}>
          {of.source === "events" ? "What the numbers mean" : `What is known of ${of.source}`}
        </DocsLink>
      </p>
    </div>
  );
}

function Fact({ name, value }: { readonly name: string; readonly value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

const unknown = "not known";

function count(value: number | null): string {
  return value === null ? unknown : formatCount(value);
}

function rate(perSecond: number | undefined, isLowerBound: boolean | undefined): string {
  return perSecond === undefined ? unknown : `${formatRate(perSecond, isLowerBound)}/s`;
}

function waitOf({ waitTime }: QueueNow): string {
  if (waitTime === null) return unknown;
  return waitTime.count === 0 ? "no job taken" : formatWait(waitTime.p95, waitTime.isUpperBound);
}

function skew(seconds: number): string {
  return `${formatDuration(Math.abs(seconds))} ${seconds > 0 ? "ahead" : "behind"}`;
}
