// Values with their timestamps: the `full` format as tables of any moment.
import type { Table } from "./grid";

type FullRow = { rowName: string; columns: [string, unknown, string][] };

export interface Timed {
  /** Milliseconds since 1970 of all the different timestamps, in order. */
  moments: number[];
  at: (moment: number) => Table;
}

export function timed(rows: FullRow[]): Timed {
  const names = [...new Set(rows.flatMap(({ columns }) => columns.map(([name]) => name)))];
  const times = rows.map(({ columns }) => columns.map(([, , time]) => parse(time)));
  const moments = [...new Set(times.flat().filter(Number.isFinite))].sort((a, b) => a - b);
  /** Each cell's latest value of those that were known at the moment. */
  const at = (moment: number): Table => ({
    columns: ["_rowName", ...names],
    rows: rows.map(({ rowName, columns }, row) => {
      const latest = new Map<string, [number, unknown]>();
      columns.forEach(([name, value], index) => {
        const time = times[row]?.[index] ?? Number.NEGATIVE_INFINITY;
        const known = latest.get(name);
        if (time <= moment && (!known || known[0] <= time)) latest.set(name, [time, value]);
      });
      return [rowName, ...names.map((name) => latest.get(name)?.[1] ?? null)];
    }),
  });
  return { moments, at };
}

function parse(time: string): number {
  if (time === "-Inf" || time === "-Infinity") return Number.NEGATIVE_INFINITY;
  const parsed = Date.parse(time);
  return Number.isNaN(parsed) ? Number.NEGATIVE_INFINITY : parsed;
}
