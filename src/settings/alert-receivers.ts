import { z } from "zod";
import { isDecodable } from "./fields.ts";

const expectedUrl = "http://[user:password@]host[:port][/path], or https://";

/** URL of one receiver. */
export function httpUrl() {
  return z.string().refine(isHttpUrl, `expected ${expectedUrl}`).optional();
}

/** Any number of URLs, separated by spaces. */
export function httpUrls() {
  return z
    .string()
    .default("")
    .transform(wordsOf)
    .refine((urls) => urls.every(isHttpUrl), `expected ${expectedUrl}; several are separated by spaces`);
}

/** Any port will do: requests are made with node:http, which refuses none, unlike fetch. */
function isHttpUrl(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || !/^https?:\/\//i.test(text) || url.hash !== "" || url.port === "0") return false;
  return isDecodable(url.username) && isDecodable(url.password);
}

/** Secrets to sign webhooks with, in the form of the Standard Webhooks specification, separated by spaces. */
export function webhookSecrets() {
  return z
    .string()
    .default("")
    .transform(wordsOf)
    .refine(
      (secrets) => secrets.every(isSecret),
      "expected whsec_ and 24 to 64 random bytes as base64; make one with: echo whsec_$(openssl rand -base64 32)",
    );
}

function isSecret(text: string): boolean {
  const [, base64] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(text) ?? [];
  const bytes = base64 === undefined ? 0 : Buffer.from(base64, "base64").length;
  return bytes >= 24 && bytes <= 64;
}

export interface WebhookConfig {
  readonly url: string;
  readonly secret: string;
}

/** Each webhook has the secret at its place; a single secret is that of all. */
export function webhooksOf(urls: readonly string[], secrets: readonly string[]): readonly WebhookConfig[] {
  return urls.map((url, i) => ({ url, secret: secrets[i] ?? secrets[0] ?? "" }));
}

function wordsOf(text: string): readonly string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}

const maxWebhooks = 10;
const receivers = ["ALERTMANAGER_URL", "ALERT_WEBHOOK_URL", "ALERT_WEBHOOK_SECRET", "ALERT_HEARTBEAT_URL"];

/** Settings that do not go together, one line for each: receivers need rules, and webhooks are always signed. */
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
    ...webhookProblems(wordsOf(given.ALERT_WEBHOOK_URL ?? ""), wordsOf(given.ALERT_WEBHOOK_SECRET ?? "")),
  ];
}

function webhookProblems(urls: readonly string[], secrets: readonly string[]): readonly string[] {
  if (urls.length > maxWebhooks)
    return [`ALERT_WEBHOOK_URL: expected at most ${maxWebhooks} URLs, got ${urls.length}`];
  if (secrets.length <= 1 || urls.length === 0 || secrets.length === urls.length) return [];
  return [
    `ALERT_WEBHOOK_SECRET: expected one, or one for each of the ${urls.length} URLs of ALERT_WEBHOOK_URL, got ${secrets.length}`,
  ];
}
