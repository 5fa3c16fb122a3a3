// Queries that this browser remembers: what was run, and what was given a name.
import { signal } from "@preact/signals";

const HISTORY = "mldb.history";
const SAVED = "mldb.queries";
const KEPT = 100;

function read<T>(key: string, otherwise: T): T {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "") as T;
  } catch {
    return otherwise;
  }
}

export const past = signal<string[]>(read(HISTORY, []));
export const saved = signal<Record<string, string>>(read(SAVED, {}));

export function remember(query: string): void {
  past.value = [query, ...past.value.filter((each) => each !== query)].slice(0, KEPT);
  localStorage.setItem(HISTORY, JSON.stringify(past.value));
}

export function save(name: string, query: string): void {
  saved.value = { ...saved.value, [name]: query };
  localStorage.setItem(SAVED, JSON.stringify(saved.value));
}

export function forget(name: string): void {
  const { [name]: _, ...others } = saved.value;
  saved.value = others;
  localStorage.setItem(SAVED, JSON.stringify(others));
}
