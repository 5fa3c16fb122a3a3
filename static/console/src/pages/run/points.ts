// What a map of rows needs: their positions, and what else is known of the same rows.
import { sqlName, table } from "../../api";
import { pathParts } from "../function/apply";
import { fetched, imageSource, isImageUrl } from "../query/images";

export const MOST_POINTS = 5000;
const SAMPLE = 25; // rows that tell what a column holds
const MOST_KINDS = 24; // different values that still have colours of their own
const FREQUENT = 9; // of more, those that keep theirs

export interface Positions {
  names: string[];
  axes: string[];
  /** By row, the numbers of each axis. */
  numbers: number[][];
}

/** Rows with their numeric columns. */
export async function positionsOf(query: string): Promise<Positions> {
  const { columns, rows } = await table(`${query} LIMIT ${MOST_POINTS}`);
  const places = columns.flatMap((name, index) =>
    name !== "_rowName" && rows.some((row) => typeof row[index] === "number") ? [index] : [],
  );
  return {
    names: rows.map((row) => String(row[0])),
    axes: places.map((index) => columns[index] as string),
    numbers: rows.map((row) => places.map((index) => (typeof row[index] === "number" ? (row[index] as number) : NaN))),
  };
}

export interface Described {
  columns: string[];
  /** Columns whose values are pictures, or addresses of them. */
  pictures: string[];
  /** The column that tells kinds of rows best: a few texts that repeat. */
  kinds: string;
}

/** What the columns of a dataset hold, from its first rows. */
export async function describe(dataset: string): Promise<Described> {
  const { columns, rows } = await table(`SELECT * FROM ${sqlName(dataset)} LIMIT ${SAMPLE}`);
  const valuesOf = (index: number) => rows.map((row) => row[index]).filter((value) => value !== null);
  const named = columns
    .map((name, index) => ({ name, values: valuesOf(index) }))
    .filter(({ name }) => name !== "_rowName");
  const pictures = named.filter(({ values }) => values.some((value) => imageSource(value) || isImageUrl(value)));
  const kinds = named.find(({ values }) => {
    const different = new Set(values);
    return (
      values.every((value) => typeof value === "string") && different.size > 1 && different.size <= values.length / 2
    );
  });
  return {
    columns: named.filter((each) => !pictures.includes(each)).map(({ name }) => name),
    pictures: pictures.map(({ name }) => name),
    kinds: kinds?.name ?? "",
  };
}

/** The values of one column by row name. */
export async function column(dataset: string, name: string, limit = 20_000): Promise<Map<string, unknown>> {
  const { rows } = await table(`SELECT ${columnName(name)} AS value FROM ${sqlName(dataset)} LIMIT ${limit}`);
  return new Map(rows.map((row) => [String(row[0]), row[1]]));
}

/** A column's path as SQL: its elements are quoted where they must be. */
const columnName = (path: string) => pathParts(path).map(sqlName).join(".");

/** Whether values are kinds, with a colour each: texts and the like, and numbers when there are few different ones. */
export function areKinds(values: unknown[]): boolean {
  return values.some((value) => typeof value !== "number") || new Set(values).size <= MOST_KINDS;
}

const OTHERS = "others";

/** Names of the kinds of values: the most frequent ones by themselves, what is left as one. */
export function kindNames(values: unknown[]): (value: unknown) => string {
  const times = new Map<string, number>();
  for (const value of values) times.set(String(value), (times.get(String(value)) ?? 0) + 1);
  if (times.size <= MOST_KINDS) return String;
  const frequent = [...times].sort((a, b) => b[1] - a[1]).slice(0, FREQUENT);
  const own = new Set(frequent.map(([name]) => name));
  return (value) => (own.has(String(value)) ? String(value) : OTHERS);
}

const AT_ONCE = 4;

/** Pictures by row: what is one already, and addresses by the server's fetcher. */
export async function picturesOf(rows: [string, unknown][]): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const far: [string, string][] = [];
  for (const [row, value] of rows) {
    const source = imageSource(value);
    if (source) found.set(row, source);
    else if (isImageUrl(value)) far.push([row, value]);
  }
  const work = far[Symbol.iterator]();
  const fetchAll = async () => {
    for (const [row, url] of work) {
      // A picture that cannot be had leaves its point as it is.
      const source = await fetched(url).catch(() => "");
      if (source) found.set(row, source);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, fetchAll));
  return found;
}
