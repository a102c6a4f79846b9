import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

export const project = join(import.meta.dirname, "../..");

/** A fenced block of a page. */
export interface Block {
  /** `docs/alerts.md:12`, of the line after its fence. */
  readonly at: string;
  readonly page: string;
  readonly language: string;
  readonly text: string;
  /** The word of `<!-- not run: WORD -->` on the line above its fence; null without one. */
  readonly notRun: string | null;
}

export interface Page {
  /** From the project's root, such as `docs/alerts.md`. */
  readonly file: string;
  readonly text: string;
  readonly blocks: readonly Block[];
  /** Of its headings, as GitHub makes them. */
  readonly anchors: ReadonlySet<string>;
  /** Where its links lead: `{ to: "docs/alerts.md", anchor: "metrics" }`; without those to other sites. */
  readonly links: readonly { readonly to: string; readonly anchor: string | null }[];
}

/** Every page of Markdown that people read, in the order of their names. */
export const pages: readonly Page[] = [".", "docs", ".github", "bench"].flatMap(filesOf).sort().map(readPage);

export const blocks: readonly Block[] = pages.flatMap((page) => page.blocks);

function filesOf(directory: string): string[] {
  const entries = readdirSync(join(project, directory), {
    recursive: directory === "docs" || directory === ".github",
  });
  return entries.map(String).flatMap((name) => (name.endsWith(".md") ? [join(directory, name)] : []));
}

function readPage(file: string): Page {
  const text = readFileSync(join(project, file), "utf8");
  const found: Block[] = [];
  const prose: string[] = [];
  let open: { language: string; from: number; notRun: string | null } | null = null;
  const lines = text.split("\n");
  lines.forEach((line, index) => {
    const fence = /^\s*```(.*)$/.exec(line);
    if (open === null && fence === null) prose.push(line);
    if (fence === null) return;
    if (open === null) {
      const notRun = /^<!-- not run: (\S+) -->$/.exec(lines[index - 1] ?? "")?.[1] ?? null;
      open = { language: fence[1] ?? "", from: index + 1, notRun };
      return;
    }
    const { language, from, notRun } = open;
    const content = `${lines.slice(from, index).join("\n")}\n`;
    found.push({ at: `${file}:${from + 1}`, page: file, language, text: content, notRun });
    open = null;
  });
  if (open !== null) throw new Error(`${file} has a block without an end`);
  return {
    file,
    text,
    blocks: found,
    anchors: anchorsOf(prose),
    links: linksOf(file, prose.join("\n")),
  };
}

function anchorsOf(prose: readonly string[]): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const line of prose) {
    const title = /^#+ (.*)$/.exec(line)?.[1];
    if (title === undefined) continue;
    const plain = title.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const slug = plain.replace(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(" ", "-");
    let anchor = slug;
    for (let copy = 1; anchors.has(anchor); copy++) anchor = `${slug}-${copy}`;
    anchors.add(anchor);
  }
  return anchors;
}

function linksOf(file: string, prose: string): Page["links"] {
  const targets = [...prose.replace(/`[^`]*`/g, "").matchAll(/\]\(([^)\s]+)\)/g)].map(
    ([, target = ""]) => target,
  );
  return targets
    .filter((target) => !/^(https?|mailto):/.test(target))
    .map((target) => {
      const [path = "", anchor = null] = target.split("#");
      const to = path === "" ? file : relative(project, join(project, dirname(file), path));
      return { to, anchor };
    });
}
