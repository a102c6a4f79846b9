import { z } from "zod";

const expectedUrl = "http://[user:password@]host[:port][/path], or https://";

/** One URL of somebody who is told something. */
export function httpUrl() {
  return z.string().refine(isHttpUrl, `expected ${expectedUrl}`).optional();
}

/** Any number of them, separated by spaces. */
export function httpUrls() {
  return z
    .string()
    .default("")
    .transform((text) => text.split(/\s+/).filter((url) => url !== ""))
    .refine((urls) => urls.every(isHttpUrl), `expected ${expectedUrl}; several are separated by spaces`);
}

function isHttpUrl(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || !/^https?:\/\//i.test(text) || url.hash !== "") return false;
  try {
    decodeURIComponent(url.username + url.password);
    return true;
  } catch {
    return false;
  }
}

/** What webhooks are signed with, in the form that the Standard Webhooks specification gives it. */
export function webhookSecret() {
  return z
    .string()
    .refine(
      isSecret,
      "expected whsec_ and 24 to 64 random bytes as base64; make one with: echo whsec_$(openssl rand -base64 32)",
    )
    .optional();
}

function isSecret(text: string): boolean {
  const [, base64] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(text) ?? [];
  const bytes = base64 === undefined ? 0 : Buffer.from(base64, "base64").length;
  return bytes >= 24 && bytes <= 64;
}

const receivers = ["ALERTMANAGER_URL", "ALERT_WEBHOOK_URL", "ALERT_WEBHOOK_SECRET", "ALERT_HEARTBEAT_URL"];

/** What does not go together, one line for each: nobody is told anything with no rules, and nothing unsigned. */
export function receiverProblems(given: Readonly<Record<string, string | undefined>>): readonly string[] {
  const needed = (name: string, others: readonly string[]) =>
    given[name] === undefined
      ? others
          .filter((other) => given[other] !== undefined)
          .map((other) => `${other}: expected ${name} beside it`)
      : [];
  return [
    ...needed("ALERTS_FILE", receivers),
    ...needed("ALERT_WEBHOOK_SECRET", ["ALERT_WEBHOOK_URL"]),
    ...needed("ALERT_WEBHOOK_URL", ["ALERT_WEBHOOK_SECRET"]),
  ];
}
