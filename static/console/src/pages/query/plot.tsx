// Plots of a result, with Observable Plot; loaded when the first plot is asked for.

import type { RectOptions, RectYOptions } from "@observablehq/plot";
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { Choice } from "../../ui/choice";
import { fitted } from "../../ui/figure";
import type { Table } from "./grid";

const KINDS = ["bar", "line", "scatter", "histogram", "heat map"] as const;
type Kind = (typeof KINDS)[number];
const MOST_POINTS = 20_000;

export default function Plots({ table }: { table: Table }) {
  const choices = table.columns.map((name, index) => ({ name, index }));
  const numeric = choices.filter(({ index }) => table.rows.slice(0, 100).some((row) => typeof row[index] === "number"));
  const others = choices.filter(({ name }) => name !== "_rowName");
  const kind = useSignal<Kind>(numeric.length > 1 ? "scatter" : "bar");
  const x = useSignal((numeric.length > 1 ? numeric[0] : others[0])?.name ?? "");
  const y = useSignal((numeric.length > 1 ? numeric[1] : numeric[0])?.name ?? "");
  const colour = useSignal("");
  const box = useRef<HTMLDivElement>(null);
  const problem = useSignal("");
  useEffect(() => {
    let current = true;
    draw(table, kind.value, x.value, y.value, colour.value, box.current?.clientWidth ?? 640).then(
      (figure) => {
        if (current) box.current?.replaceChildren(figure);
        problem.value = "";
      },
      (error) => {
        problem.value = String(error);
      },
    );
    return () => {
      current = false;
    };
  }, [table, kind.value, x.value, y.value, colour.value, problem]);
  const names = table.columns;
  return (
    <div class="stack">
      <div class="row">
        <Choice label="Plot" signal={kind} options={KINDS} />
        <Choice label="x" signal={x} options={names} />
        {kind.value !== "histogram" && <Choice label="y" signal={y} options={names} />}
        <Choice label={kind.value === "heat map" ? "Value" : "Colour"} signal={colour} options={["", ...names]} />
      </div>
      {table.rows.length > MOST_POINTS && <p class="soft small">The first {MOST_POINTS} rows are drawn.</p>}
      {problem.value && <p class="notice error">{problem.value}</p>}
      <div ref={box} class="plot" role="img" aria-label={`${kind.value} of ${y.value} by ${x.value}`} />
    </div>
  );
}

type Point = Record<string, unknown>;

async function draw(table: Table, kind: Kind, x: string, y: string, colour: string, width: number): Promise<Element> {
  const Plot = await import("@observablehq/plot");
  const points: Point[] = table.rows
    .slice(0, MOST_POINTS)
    .map((row) => Object.fromEntries(table.columns.map((name, index) => [name, plain(row[index])])));
  const fill = colour || undefined;
  const one = "var(--accent)";
  const marks = {
    bar: () => [Plot.barY(points, Plot.groupX({ y: "sum" }, { x, y, fill: fill ?? one, tip: true })), Plot.ruleY([0])],
    line: () => [Plot.line(points, { x, y, stroke: fill ?? one, z: fill ?? null, sort: x, tip: true })],
    scatter: () => [Plot.dot(points, { x, y, fill: fill ?? one, fillOpacity: 0.6, r: 3, tip: true })],
    histogram: () => [
      Plot.rectY(points, Plot.binX<RectYOptions>({ y: "count" }, { x, fill: fill ?? one, tip: true })),
      Plot.ruleY([0]),
    ],
    "heat map": () => heat(Plot, points, x, y, colour),
  }[kind]();
  const figure = Plot.plot({
    width: Math.max(280, width),
    height: 380,
    marginLeft: 60,
    marginBottom: 45,
    color: colour || kind === "heat map" ? { legend: true } : undefined,
    marks,
  });
  return fitted(figure);
}

function heat(Plot: typeof import("@observablehq/plot"), points: Point[], x: string, y: string, value: string) {
  const continuous = [x, y].every((name) => points.every((point) => typeof point[name] === "number"));
  const reduce = value ? "mean" : "count";
  const options = { x, y, inset: 0.5, tip: true, ...(value ? { fill: value } : {}) };
  const outputs = { fill: reduce } as const;
  if (continuous) return [Plot.rect(points, Plot.bin<RectOptions>(outputs, options))];
  return [Plot.cell(points, Plot.group(outputs, options))];
}

/** Values that Plot can place: times as dates, what else is nested as text. */
function plain(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if ("ts" in value) return new Date(String(value.ts));
  return JSON.stringify(value);
}
