// The ways to apply a function: to an input as JSON, and inside a query, where the server fetches what it is applied to.
import { json, path, sqlName } from "../../api";
import type { Json } from "../../ui/form/schema";

const LONGEST_URL = 30_000; // characters of an input that still fit into an address

/** The call as an address, for other programs. */
export function addressOf(id: string, input: Json): string {
  return `${path("functions", id)}/application?${new URLSearchParams({ input: JSON.stringify(input) })}`;
}

export async function applyTo(id: string, input: unknown): Promise<unknown> {
  const url = `${path("functions", id)}/application`;
  const text = JSON.stringify(input);
  if (encodeURIComponent(text).length < LONGEST_URL) {
    return json("GET", url, { query: { input: text, outputFormat: "json" } });
  }
  return json("POST", "/v1/redirect/get", { json: { target: url, body: { input, outputFormat: "json" } } });
}

/** The query that applies a function to an SQL row expression, of a dataset's row when one is named. */
export function callQuery(id: string, argument: string, from = ""): string {
  return `SELECT ${sqlName(id)}(${argument}) AS *${from}`;
}

/** The one row of a query, nested as its column names say. */
export async function firstRow(q: string): Promise<Json> {
  const [row = {}] = await json<Json[]>("GET", "/v1/query", { query: { q, format: "aos", rowNames: false } });
  return nested(row);
}

function nested(row: Json): Json {
  const top: Json = {};
  for (const [name, value] of Object.entries(row)) {
    const parts = pathParts(name);
    const last = parts.pop() ?? name;
    let at = top;
    for (const part of parts) {
      const inner = at[part];
      const next = typeof inner === "object" && inner !== null ? (inner as Json) : {};
      at[part] = next;
      at = next;
    }
    at[last] = value;
  }
  return listed(top) as Json;
}

/** Elements of a path's text: split at dots, those in double quotes may hold any character. */
export function pathParts(text: string): string[] {
  const found = text.match(/"(?:[^"]|"")*"|[^.]+/g) ?? [text];
  return found.map((part) => (part.startsWith('"') ? part.slice(1, -1).replaceAll('""', '"') : part));
}

/** Objects whose members are 0, 1, 2, … as lists. */
function listed(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  if ("blob" in value || "ts" in value) return value;
  const entries = Object.entries(value).map(([name, inner]): [string, unknown] => [name, listed(inner)]);
  const numbered = entries.length > 1 && entries.every(([name]) => /^\d+$/.test(name));
  if (!numbered) return Object.fromEntries(entries);
  return entries.sort((a, b) => Number(a[0]) - Number(b[0])).map(([, inner]) => inner);
}
