// Numbers, sizes and times for people.

export function bytes(count: number): string {
  if (count < 1024) return `${count} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let size = count / 1024;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
}

export function seconds(time: number): string {
  if (time < 0.001) return `${Math.round(time * 1e6)} µs`;
  if (time < 1) return `${time < 0.01 ? (time * 1000).toFixed(1) : Math.round(time * 1000)} ms`;
  if (time < 60) return `${time < 10 ? time.toFixed(1) : Math.round(time)} s`;
  return time < 3600 ? `${Math.floor(time / 60)} min ${Math.round(time % 60)} s` : `${(time / 3600).toFixed(1)} h`;
}

export const count = (number: number): string => number.toLocaleString("en").replaceAll(",", "\u202f");

/** A number with its noun: 1 row, 2 rows. */
export const plural = (number: number, noun: string): string => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** How long ago a time of the server was. */
export function ago(time: string | number): string {
  const past = (Date.now() - (typeof time === "number" ? time * 1000 : Date.parse(time))) / 1000;
  if (past < 5) return "just now";
  if (past < 60) return `${Math.round(past)} s ago`;
  if (past < 3600) return `${Math.round(past / 60)} min ago`;
  if (past < 86400) return `${Math.round(past / 3600)} h ago`;
  return new Date(Date.now() - past * 1000).toLocaleDateString();
}

/** A number as it is, or with four digits that matter where it has more. */
export function number(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return String(value);
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-4 || size >= 1e9) ? value.toExponential(3) : String(Number(value.toPrecision(4)));
}
