// A grid that shows any number of rows and columns: only the cells that can be seen exist.
import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { type Direction, inOrder, type Sortable, SortButton, turned } from "../../ui/sorting";
import { imageSource } from "./images";

const ROW = 28;
const MOST_PIXELS = 15_000_000; // beyond, browsers lose pixels; rows then share them
const OVERSCAN = 4;

export interface Table {
  columns: string[];
  rows: unknown[][];
}

interface GridProps {
  table: Table;
  label: string;
}

export function Grid(props: GridProps) {
  return props.table.rows.length ? <Cells {...props} /> : <p class="empty">No rows.</p>;
}

interface Order {
  column: number;
  direction: Direction;
}

/** Rows in the order of a column; what is null comes last either way. */
function ordered(rows: unknown[][], order: Order | undefined): unknown[][] {
  if (!order) return rows;
  const { column, direction } = order;
  return inOrder(rows, (row) => sortable(row[column]), direction === "descending");
}

function sortable(value: unknown): Sortable {
  if (value === null || value === undefined) return undefined;
  return typeof value === "number" ? value : cellText(value);
}

function Cells({ table: { columns, rows: given }, label }: GridProps) {
  const order = useSignal<Order | undefined>(undefined);
  const rows = useMemo(() => ordered(given, order.value), [given, order.value]);
  const box = useRef<HTMLDivElement>(null);
  const view = useSignal({ top: 0, left: 0, width: 0, height: 0 });
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const look = () => {
      view.value = {
        top: element.scrollTop,
        left: element.scrollLeft,
        width: element.clientWidth,
        height: element.clientHeight,
      };
    };
    look();
    const observer = new ResizeObserver(look);
    observer.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, [view]);
  const [widths, lefts] = useMemo(() => placed(columns, given), [columns, given]);
  const { top, left, width, height } = view.value;
  const full = rows.length * ROW;
  const shown = Math.min(full, MOST_PIXELS);
  const seen = Math.max(0, height - ROW);
  // The scroll bar stands for all rows; where they are more than pixels, one pixel stands for several.
  const offset = shown > seen ? (Math.min(top, shown - seen) * (full - seen)) / (shown - seen) : 0;
  const first = Math.max(0, Math.floor(offset / ROW) - OVERSCAN);
  const last = Math.min(rows.length, Math.ceil((offset + seen) / ROW) + OVERSCAN);
  const from = Math.max(
    0,
    lefts.findIndex((_, index) => (lefts[index + 1] ?? 0) >= left),
  );
  const beyond = lefts.findIndex((edge) => edge > left + width);
  const until = beyond < 0 ? columns.length : Math.min(columns.length, beyond);
  const visible = columns.slice(from, until);
  return (
    <div
      ref={box}
      class="grid"
      role="table"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
      tabIndex={0}
      aria-label={label}
      aria-rowcount={rows.length + 1}
      aria-colcount={columns.length}
    >
      <div class="grid-space" role="rowgroup" style={{ height: px(shown + ROW), width: px(lefts.at(-1)) }}>
        <div class="grid-row grid-head" role="row" aria-rowindex={1}>
          {visible.map((column, index) => (
            <Head
              key={from + index}
              name={column}
              index={from + index}
              numeric={typeof given[0]?.[from + index] === "number"}
              order={order}
              style={{ left: px(lefts[from + index]), width: px(widths[from + index]) }}
            />
          ))}
        </div>
        {rows.slice(first, last).map((row, at) => (
          <div
            key={first + at}
            class="grid-row"
            role="row"
            aria-rowindex={first + at + 2}
            style={{ top: px(ROW + top + (first + at) * ROW - offset) }}
          >
            {visible.map((_, index) => (
              <Cell
                key={from + index}
                value={row[from + index]}
                index={from + index}
                style={{ left: px(lefts[from + index]), width: px(widths[from + index]) }}
              />
            ))}
          </div>
        ))}
      </div>
    </div>
  );
}

/** The width of each column, and where each begins, with the end of the last one. */
function placed(columns: string[], rows: unknown[][]): [number[], number[]] {
  const widths = columns.map((column, index) => widthOf(column, index, rows));
  const lefts = [0];
  for (const [index, width] of widths.entries()) lefts.push((lefts[index] ?? 0) + width);
  return [widths, lefts];
}

interface HeadProps {
  name: string;
  index: number;
  numeric: boolean;
  order: { value: Order | undefined };
  style: { left: string; width: string };
}

function Head({ name, index, numeric, order, style }: HeadProps) {
  const direction = order.value?.column === index ? order.value.direction : undefined;
  return (
    <span
      role="columnheader"
      class={numeric ? "number" : ""}
      aria-colindex={index + 1}
      aria-sort={direction}
      style={style}
    >
      <SortButton
        head={name}
        direction={direction}
        onClick={() => {
          const next = turned(direction);
          order.value = next && { column: index, direction: next };
        }}
      />
    </span>
  );
}

const px = (length = 0) => `${length}px`;

function Cell({ value, index, style }: { value: unknown; index: number; style: { left: string; width: string } }) {
  const picture = imageSource(value);
  const text = cellText(value);
  const kind = value === null ? "null" : typeof value === "number" ? "number" : "";
  return (
    <span role="cell" class={kind} aria-colindex={index + 1} style={style} title={text}>
      {picture ? <img src={picture} alt={text.slice(0, 60)} /> : text}
    </span>
  );
}

export function cellText(value: unknown): string {
  if (value === null || value === undefined) return "null";
  if (typeof value === "object") {
    if ("ts" in value) return String(value.ts);
    if ("blob" in value) return `blob, ${blobSize(value.blob)} bytes`;
    return JSON.stringify(value);
  }
  return String(value);
}

function blobSize(runs: unknown): number {
  return Array.isArray(runs) ? runs.reduce((sum, run) => sum + (typeof run === "string" ? run.length : 1), 0) : 0;
}

function widthOf(column: string, index: number, rows: unknown[][]): number {
  let longest = column.length + 1; // heads are bold
  for (const row of rows.slice(0, 50)) {
    if (!imageSource(row[index])) longest = Math.max(longest, cellText(row[index]).length);
  }
  return Math.min(380, Math.max(70, longest * 7.9 + 24));
}
