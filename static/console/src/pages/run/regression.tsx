// How good a regression is: labels against scores, and how far they are apart.
import type { RectYOptions } from "@observablehq/plot";
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { sqlName, table } from "../../api";
import { attempt } from "../../toasts";
import { count, number } from "../../ui/format";
import { Fact } from "./boolean";
import { Chart } from "./chart";

export interface RegressionStatistics {
  mse: number;
  r2: number;
  quantileErrors: Record<string, number>;
}

interface Point {
  row: string;
  label: number;
  score: number;
}

const MOST = 5000;

export function RegressionReport({ statistics, dataset }: { statistics: RegressionStatistics; dataset: string }) {
  const points = useSignal<Point[] | undefined>(undefined);
  useEffect(() => {
    if (!dataset) return;
    attempt(async () => {
      const { columns, rows } = await table(`SELECT label, score FROM ${sqlName(dataset)} LIMIT ${MOST}`);
      const [label, score] = ["label", "score"].map((name) => columns.indexOf(name)) as [number, number];
      points.value = rows.map((row) => ({ row: String(row[0]), label: Number(row[label]), score: Number(row[score]) }));
    });
  }, [dataset, points]);
  const { mse, r2, quantileErrors } = statistics;
  return (
    <>
      <dl class="facts card">
        <Fact name="R²" value={r2} />
        <Fact name="Mean squared error" value={mse} />
        <Fact name="Root mean squared error" value={Math.sqrt(mse)} />
        {Object.entries(quantileErrors).map(([share, error]) => (
          <div key={share}>
            <dt>{Math.round(Number(share) * 100)} % of the rows are off by at most</dt>
            <dd class="fact">{number(error * 100)} %</dd>
          </div>
        ))}
      </dl>
      {!dataset && <p class="soft">With an outputDataset the report shows the rows.</p>}
      {points.value && points.value.length > 0 && <Charts points={points.value} />}
    </>
  );
}

function Charts({ points }: { points: Point[] }) {
  const values = points.flatMap(({ label, score }) => [label, score]).filter(Number.isFinite);
  const ends = [Math.min(...values), Math.max(...values)] as [number, number];
  return (
    <div class="charts">
      <figure class="card">
        <figcaption>Predicted against actual {points.length === MOST && `(the first ${count(MOST)} rows)`}</figcaption>
        <Chart
          label="Scatter plot of predictions by actual values"
          of={[points]}
          draw={(plot, width) =>
            plot.plot({
              width,
              height: Math.min(380, width * 0.85),
              marginLeft: 50,
              x: { label: "actual", grid: true },
              y: { label: "predicted", grid: true },
              marks: [
                plot.line(
                  [
                    [ends[0], ends[0]],
                    [ends[1], ends[1]],
                  ],
                  { stroke: "var(--soft)", strokeDasharray: "4 4" },
                ),
                plot.dot(points, {
                  x: "label",
                  y: "score",
                  fill: "var(--accent)",
                  fillOpacity: 0.55,
                  r: 3.5,
                  channels: { row: "row" },
                  tip: true,
                }),
              ],
            })
          }
        />
      </figure>
      <figure class="card">
        <figcaption>Residuals: predicted − actual</figcaption>
        <Chart
          label="Histogram of the errors"
          of={[points]}
          draw={(plot, width) =>
            plot.plot({
              width,
              height: Math.min(380, width * 0.85),
              marginLeft: 50,
              x: { label: "error" },
              y: { label: "rows", grid: true },
              marks: [
                plot.rectY(
                  points.map(({ label, score }) => score - label),
                  plot.binX<RectYOptions>({ y: "count" }, { fill: "var(--accent)", tip: true }),
                ),
                plot.ruleX([0], { stroke: "var(--soft)" }),
                plot.ruleY([0]),
              ],
            })
          }
        />
      </figure>
    </div>
  );
}
