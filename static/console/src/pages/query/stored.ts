// Queries that are remembered: what was run, by this browser; what was given a name, by the server, for all who use it.
import { signal } from "@preact/signals";
import { json, path } from "../../api";

const HISTORY = "mldb.history";
const EARLIER = "mldb.queries"; // of consoles that kept named queries in the browser
const KEPT = 100;

export interface Saved {
  name: string;
  query: string;
}

function read<T>(key: string, otherwise: T): T {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "") as T;
  } catch {
    return otherwise;
  }
}

/** What a page says to the editor that it leads to: run the query at once. */
export const RUN = { run: true };
export const FIRST_ROWS = 1000;

export const past = signal<string[]>(read(HISTORY, []));
export const saved = signal<Saved[]>([]);

export function remember(query: string): void {
  past.value = [query, ...past.value.filter((each) => each !== query)].slice(0, KEPT);
  localStorage.setItem(HISTORY, JSON.stringify(past.value));
}

let asked = 0;

/** What is saved now. An answer that comes after that to a later question is old. */
async function readSaved(): Promise<Saved[]> {
  asked += 1;
  const number = asked;
  const found = await json<Saved[]>("GET", path("saved-queries"));
  if (number === asked) saved.value = found;
  return found;
}

export async function loadSaved(): Promise<void> {
  const now = await readSaved();
  const earlier = Object.entries(read<Record<string, string>>(EARLIER, {}));
  if (!earlier.length) return;
  const known = new Map(now.map(({ name, query }) => [name, query]));
  for (const [name, query] of earlier) {
    const free = freeName(name, query, known);
    if (!known.has(free)) await json("PUT", path("saved-queries", free), { json: { query } });
    known.set(free, query);
  }
  localStorage.removeItem(EARLIER);
  await readSaved();
}

/** A name under which the query may be kept: one that is free, or has this very query. */
function freeName(name: string, query: string, known: ReadonlyMap<string, string>): string {
  for (let number = 1; ; number += 1) {
    const tried = number === 1 ? name : `${name} (${number})`;
    if (!known.has(tried) || known.get(tried) === query) return tried;
  }
}

export async function save(name: string, query: string): Promise<void> {
  await json("PUT", path("saved-queries", name), { json: { query } });
  await loadSaved();
}

export async function forget(name: string): Promise<void> {
  await json("DELETE", path("saved-queries", name));
  await loadSaved();
}

/** The text of a saved query, as it is on the server now. */
export async function savedText(name: string): Promise<string> {
  return (await json<Saved>("GET", path("saved-queries", name))).query;
}

export function savedLink(name: string): string {
  return `${window.location.origin}/console/query?${new URLSearchParams({ saved: name })}`;
}
