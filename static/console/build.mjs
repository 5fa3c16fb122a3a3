// Bundles src/ into dist/ and writes dist/manifest.json: which files the page loads first.
import { mkdir, rm, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const PUBLIC = "/static/console/";
const OUT = "dist";

await rm(OUT, { recursive: true, force: true });
const { metafile } = await build({
  entryPoints: ["src/main.tsx"],
  outdir: OUT,
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  minify: true,
  sourcemap: true,
  metafile: true,
  legalComments: "linked",
  logLevel: "warning",
});

const outputs = Object.entries(metafile.outputs);
const [script, entry] = outputs.find(([, output]) => output.entryPoint === "src/main.tsx");
const named = (path) => PUBLIC + path.slice(OUT.length + 1);
const first = entry.imports.filter(({ kind }) => kind === "import-statement").map(({ path }) => named(path));
await mkdir(OUT, { recursive: true });
await writeFile(
  `${OUT}/manifest.json`,
  JSON.stringify({ script: named(script), style: named(entry.cssBundle), preload: first }, null, 2),
);
