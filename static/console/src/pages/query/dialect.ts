// The dialect for the editor: highlighting, and completion from the server's own catalogue.
import type { Completion, CompletionContext, CompletionResult } from "@codemirror/autocomplete";
import { StreamLanguage, type StringStream } from "@codemirror/language";
import { json, path, sqlName } from "../../api";
import { entities } from "../../live";

const KEYWORDS = new Set(
  "select from where when group by having order limit offset named as and or not is null true false in between like asc desc join inner left right full outer on excluding case then else end cast column structured distinct rows row timestamp interval nan inf string number integer boolean path transpose merge subset sample union".split(
    " ",
  ),
);

const NAME = /^[A-Za-z_][A-Za-z0-9_]*/;

function token(stream: StringStream, state: { comment: boolean }): string | null {
  if (state.comment || stream.match("/*")) {
    state.comment = !stream.match(/^.*?\*\//);
    if (state.comment) stream.skipToEnd();
    return "blockComment";
  }
  if (stream.eatSpace()) return null;
  if (stream.match(/^--.*/)) return "lineComment";
  if (stream.match(/^'(?:[^']|'')*'?/)) return "string";
  if (stream.match(/^"(?:[^"]|"")*"?/)) return "variableName.special";
  if (stream.match(/^\$[A-Za-z0-9_]+/)) return "atom";
  if (stream.match(/^(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/)) return "number";
  const name = stream.match(NAME) as RegExpMatchArray | null;
  if (!name) {
    stream.next();
    return "operator";
  }
  if (KEYWORDS.has(name[0].toLowerCase())) return "keyword";
  return stream.peek() === "(" ? "variableName.function" : "variableName";
}

export const dialect = StreamLanguage.define({
  name: "mldb-sql",
  startState: () => ({ comment: false }),
  token,
  tokenTable: {},
  languageData: { commentTokens: { line: "--", block: { open: "/*", close: "*/" } } },
});

interface BuiltinFunction {
  name: string;
  signature: string;
  summary: string;
  family: string;
  example: [string, string] | null;
}

let builtins: Promise<Completion[]> | undefined;

function functions(): Promise<Completion[]> {
  builtins ??= json<{ functions: BuiltinFunction[] }>("GET", "/v1/dialect").then(({ functions }) =>
    functions.map(({ name, signature, summary, example }) => ({
      label: name,
      type: "function",
      detail: signature.slice(name.length),
      info: example ? `${summary}\n\n${example[0]} = ${example[1]}` : summary,
      apply: `${name}(`,
    })),
  );
  return builtins;
}

const columns = new Map<string, Promise<Completion[]>>();
const MOST_COLUMNS = 1000;

function columnsOf(dataset: string): Promise<Completion[]> {
  const known = columns.get(dataset);
  if (known) return known;
  const found = json<string[]>("GET", `${path("datasets", dataset)}/columns`, { query: { limit: MOST_COLUMNS } }).then(
    (names) => names.map((label) => ({ label, type: "property", detail: dataset, boost: 2 })),
    () => [],
  );
  columns.set(dataset, found);
  setTimeout(() => columns.delete(dataset), 30_000);
  return found;
}

/** Everything that may stand at the cursor; columns of the datasets that the text names come first. */
export async function complete(context: CompletionContext): Promise<CompletionResult | null> {
  const word = context.matchBefore(/"?[\w.]*$/);
  if (!word || (word.from === word.to && !context.explicit)) return null;
  const text = context.state.doc.toString();
  const before = text.slice(0, word.from);
  const datasets = entities.dataset.value.map(({ id }) => ({ label: sqlName(id), type: "class", detail: "dataset" }));
  if (/\b(from|join)\s+$/i.test(before)) return { from: word.from, options: datasets };
  const named = entities.dataset.value.filter(({ id }) => text.includes(id));
  const found = await Promise.all([functions(), ...named.slice(0, 8).map(({ id }) => columnsOf(id))]);
  if (context.view?.hasFocus === false) return null; // who has gone on wants no list over the page
  const own = entities.function.value.map(({ id, type }) => ({ label: sqlName(id), type: "function", detail: type }));
  const keywords = [...KEYWORDS].map((label) => ({ label: label.toUpperCase(), type: "keyword", boost: -1 }));
  return { from: word.from, options: [...found.flat(), ...own, ...datasets, ...keywords], validFor: /^"?[\w.]*$/ };
}
