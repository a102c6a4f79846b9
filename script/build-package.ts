// `npm pack` and `npm publish` run this first: it compiles src into lib, as JavaScript for Node.js 22 and later, file by file, with the
// Lua scripts and other files beside it, builds the dashboard, and lists the dependencies. In the project itself Node.js runs src as it is.
import { execFile } from "node:child_process";
import { globSync } from "node:fs";
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { promisify } from "node:util";
import { build, type Plugin } from "esbuild";
import { buildDashboard } from "./build-dashboard.ts";
import { buildSbom } from "./build-sbom.ts";

const project = join(import.meta.dirname, "..");
const [source, output] = [join(project, "src"), join(project, "lib")];

/** Node.js runs no TypeScript in node_modules. */
const withJsNames: Plugin = {
  name: "with-js-names",
  setup({ onResolve, onLoad }) {
    // Every file is compiled by itself: what it imports is another file of lib.
    onResolve({ filter: /^\.\.?\// }, ({ path, kind }) =>
      kind === "entry-point" ? null : { path: path.replace(/\.ts$/, ".js"), external: true },
    );
    onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const text = await readFile(path, "utf8");
      // Threads are started by URL.
      return {
        contents: text.replace(/(?<=new URL\("\.\/[\w/-]+)\.ts(?=", import\.meta\.url\))/g, ".js"),
        loader: "ts",
      };
    });
  },
};

await rm(output, { recursive: true, force: true });
const files = globSync("**/*.*", { cwd: source, exclude: ["dashboard/**"] });
const isCode = (file: string) => extname(file) === ".ts";
await build({
  entryPoints: files
    .filter((file) => isCode(file) && !file.endsWith(".d.ts"))
    .map((file) => join(source, file)),
  outdir: output,
  outbase: source,
  bundle: true,
  packages: "external",
  platform: "node",
  format: "esm",
  target: "node22",
  plugins: [withJsNames],
  tsconfigRaw: {},
  logLevel: "warning",
});
for (const file of files.filter((name) => !isCode(name)))
  await cp(join(source, file), join(output, file), { recursive: true });
// The package has its dependencies in it. hot-shots would compile this one for Unix sockets, which no setting names, at each installation.
await rm(join(project, "node_modules/unix-dgram"), { recursive: true, force: true });
// More than half of what the SDK is.
for (const file of globSync("node_modules/@opentelemetry/**/*.map", { cwd: project }))
  await rm(join(project, file));
await declareTypes(join(source, "recorder/recorder.ts"), join(output, "recorder"));
await buildDashboard();
await buildSbom();

/** Of what programs import. */
async function declareTypes(file: string, directory: string): Promise<void> {
  const compiler = join(project, "node_modules/.bin/tsc");
  const options = [
    "--ignoreConfig",
    "--declaration",
    "--emitDeclarationOnly",
    "--allowImportingTsExtensions",
  ];
  const target = ["--module", "nodenext", "--target", "es2024", "--types", "node", "--outDir", directory];
  await promisify(execFile)(compiler, [file, ...options, ...target], { cwd: project });
  for (const name of globSync("*.d.ts", { cwd: directory })) {
    const text = await readFile(join(directory, name), "utf8");
    await writeFile(join(directory, name), text.replace(/(?<=from "\.[^"]*)\.ts(?=")/g, ".js"));
  }
}
