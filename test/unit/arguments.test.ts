import { describe, expect, test } from "vitest";
import { type CommandLine, readArguments } from "../../src/cli/arguments.ts";
import { helpText } from "../../src/cli/help.ts";
import { settingDescriptions } from "../../src/cli/setting-descriptions.ts";
import { loadConfig } from "../../src/config.ts";
import { StartError } from "../../src/core/errors.ts";
import { listSettings } from "../../src/settings/settings.ts";

const names = ["HOST", "PORT", "REDIS_URL", "SIDEKIQ_URL", "SIDEKIQ_INTERVAL", "API_TOKENS_FILE"];
const read = (...args: readonly string[]) => readArguments(args, names);
const started = (settings: CommandLine["settings"]) => ({ command: "start", settings, words: [] });

describe("arguments", () => {
  test.each([
    { args: [], line: started({}), why: "the server starts" },
    { args: ["start"], line: started({}), why: "the same, by name" },
    { args: ["--port", "80"], line: started({ PORT: "80" }), why: "a value behind a blank" },
    { args: ["--port=80"], line: started({ PORT: "80" }), why: "a value behind =" },
    {
      args: ["--redis-url=redis://:a=b@h"],
      line: started({ REDIS_URL: "redis://:a=b@h" }),
      why: "only the first = separates",
    },
    {
      args: ["--sidekiq", "redis://a"],
      line: started({ SIDEKIQ_URL: "redis://a" }),
      why: "-url may be left out",
    },
    {
      args: ["--sidekiq", "redis://a", "--sidekiq-url=redis://b?as=b"],
      line: started({ SIDEKIQ_URL: "redis://a redis://b?as=b" }),
      why: "several URLs, as SIDEKIQ_URL has them",
    },
    { args: ["--port", "-1"], line: started({ PORT: "-1" }), why: "the setting refuses it, with its limits" },
    {
      args: ["--port", "80", "check"],
      line: { command: "check", settings: { PORT: "80" }, words: [] },
      why: "a command may come last",
    },
    {
      args: ["token", "ops", "read", "--api-tokens-file", "f"],
      line: { command: "token", settings: { API_TOKENS_FILE: "f" }, words: ["ops", "read"] },
      why: "a token has a name and scopes",
    },
    { args: ["check", "-h"], line: { command: "help", settings: {}, words: [] }, why: "help of any command" },
    { args: ["-v"], line: { command: "version", settings: {}, words: [] }, why: "the version" },
  ])("$args: $why", ({ args, line }) => {
    expect(read(...args)).toEqual(line);
  });

  test.each([
    { args: ["--prot", "80"], message: "unknown flag --prot; did you mean --port?", why: "letters swapped" },
    { args: ["--redisurl=x"], message: "unknown flag --redisurl; did you mean --redis-url?", why: "no dash" },
    { args: ["--colour"], message: "unknown flag --colour", why: "nothing is close" },
    { args: ["-p", "80"], message: "unknown flag -p", why: "settings have no short flags" },
    { args: ["chekc"], message: "unknown command chekc; did you mean check?", why: "letters swapped" },
    {
      args: ["check", "redis"],
      message: "unexpected argument redis behind check",
      why: "check takes flags only",
    },
    { args: ["--port"], message: "--port needs a value, as in --port=VALUE", why: "the last one" },
    { args: ["--port="], message: "--port needs a value", why: "nothing behind =" },
    { args: ["--port", "--host", "x"], message: "--port needs a value", why: "a flag is no value" },
  ])("$args are refused: $why", ({ args, message }) => {
    expect(() => read(...args)).toThrow(StartError);
    expect(() => read(...args)).toThrow(message);
    expect(() => read(...args)).toThrow("queue-latency --help lists");
  });
});

describe("the flags", () => {
  const settings = listSettings();

  test("are one for each setting, all with a description and their default", () => {
    const help = helpText();
    expect(settings.length).toBeGreaterThan(40);
    for (const { name, defaultText } of settings) {
      const flag = `--${name.toLowerCase().replaceAll("_", "-")}`;
      const line = new RegExp(`^ {2}${flag} [A-Z]+ +(\\S.*)$`, "m").exec(help)?.[1] ?? "";
      expect(line, name).toContain(settingDescriptions[name]);
      if (defaultText !== "") expect(line, name).toContain(`[${defaultText}]`);
      expect(
        readArguments(
          [`${flag}=x`],
          settings.map((one) => one.name),
        ).settings,
      ).toEqual({ [name]: "x" });
    }
  });

  test("show the defaults that are used", () => {
    const env = Object.fromEntries(settings.map(({ name, defaultText }) => [name, defaultText]));
    expect(loadConfig(env)).toEqual(loadConfig({}));
  });
});
