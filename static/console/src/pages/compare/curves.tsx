// ROC and precision-recall curves of several runs over each other; the folds of a run share its colour.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { attempt } from "../../toasts";
import { isObject } from "../../ui/form/schema";
import { Chart, type PlotLibrary } from "../run/chart";
import {
  AXES,
  areOf,
  type BooleanStatistics,
  rates,
  rocPoints,
  scored,
  type Threshold,
  thinned,
} from "../run/thresholds";
import type { Compared, Part } from "./runs";

const COLOURS = 8; // --run-1 and so on
const DASHES = ["none", "8 3", "2 3", "8 3 2 3"];

export interface Drawn {
  run: Compared;
  /** What the run is called among the others. */
  name: string;
  /** Its place among all runs, which its colour and its dashes come from. */
  place: number;
}

export const colourOf = (place: number) => `var(--run-${(place % COLOURS) + 1})`;
export const dashOf = (place: number) => DASHES[place % DASHES.length];

/** Parts of a run whose scored rows make curves. */
export const drawable = ({ parts }: Compared) =>
  parts.filter(({ dataset, statistics }) => dataset && isObject(statistics) && "auc" in statistics);

interface Curve {
  drawn: Drawn;
  part: Part;
  thresholds: Threshold[];
}

/** By run and part the thresholds; null where they are gone or those of another run. */
type Known = ReadonlyMap<string, Threshold[] | null>;

const nameOf = ({ key }: Compared, part: Part) => `${key} ${part.name}`;

async function thresholdsOf(part: Part): Promise<Threshold[] | null> {
  const thresholds = await scored(part.dataset);
  return areOf(thresholds, part.statistics as BooleanStatistics) ? thresholds : null;
}

export function Curves({ drawn }: { drawn: Drawn[] }) {
  const known = useSignal<Known>(new Map());
  useEffect(() => {
    let current = true;
    attempt(async () => {
      for (const { run } of drawn) {
        for (const part of drawable(run)) {
          const name = nameOf(run, part);
          if (!current) return;
          if (!known.peek().has(name)) known.value = new Map(known.peek()).set(name, await thresholdsOf(part));
        }
      }
    });
    return () => {
      current = false;
    };
  }, [drawn.map(({ run }) => run.key).join(" "), known]);
  const all = drawn.flatMap((each) => drawable(each.run).map((part) => ({ drawn: each, part })));
  const curves = all.flatMap(({ drawn: of, part }): Curve[] => {
    const thresholds = known.value.get(nameOf(of.run, part));
    return thresholds?.length ? [{ drawn: of, part, thresholds }] : [];
  });
  const gone = drawn.filter(({ run }) => drawable(run).some((part) => known.value.get(nameOf(run, part)) === null));
  const names = drawn.map(({ name }) => name).join(", ");
  if (!all.length) {
    return <p class="soft">Curves are drawn of runs of mode boolean with a dataset of scored rows that are ticked.</p>;
  }
  return (
    <>
      {gone.length > 0 && (
        <p class="notice warning">
          No curves of {gone.map(({ name }) => name).join(", ")}: another run has written the scored rows since.
        </p>
      )}
      <div class="charts">
        <figure class="card">
          <figcaption>ROC curves</figcaption>
          <Chart
            label={`ROC curves of ${names}`}
            of={[curves.length, names]}
            draw={(plot, width) => roc(plot, width, curves)}
          />
        </figure>
        <figure class="card">
          <figcaption>Precision and recall</figcaption>
          <Chart
            label={`Precision by recall of ${names}`}
            of={[curves.length, names]}
            draw={(plot, width) => precisionRecall(plot, width, curves)}
          />
        </figure>
      </div>
    </>
  );
}

function roc(plot: PlotLibrary, width: number, curves: Curve[]) {
  const chance = [
    [0, 0],
    [1, 1],
  ] as [number, number][];
  return drawnOver(plot, width, curves, rocPoints, { x: "false positive rate", y: "true positive rate" }, chance);
}

function precisionRecall(plot: PlotLibrary, width: number, curves: Curve[]) {
  const points = (thresholds: Threshold[]) =>
    thinned(thresholds).map((each) => {
      const { recall, precision } = rates(each);
      return { x: recall, y: precision, threshold: each.score };
    });
  return drawnOver(plot, width, curves, points, { x: "recall", y: "precision" }, []);
}

function drawnOver(
  plot: PlotLibrary,
  width: number,
  curves: Curve[],
  pointsOf: (thresholds: Threshold[]) => { x: number; y: number; threshold: number }[],
  labels: { x: string; y: string },
  chance: [number, number][],
) {
  const lines = curves.map(({ drawn, part, thresholds }) => ({
    place: drawn.place,
    single: drawn.run.parts.length === 1,
    points: pointsOf(thresholds).map((each) => ({ ...each, run: drawn.name, fold: part.name || undefined })),
  }));
  return plot.plot({
    width,
    height: Math.min(380, width * 0.85),
    marginLeft: 45,
    x: { ...AXES, label: labels.x },
    y: { ...AXES, label: labels.y },
    marks: [
      plot.line(chance, { stroke: "var(--soft)", strokeDasharray: "4 4" }),
      ...lines.map(({ place, single, points }) =>
        plot.line(points, {
          x: "x",
          y: "y",
          stroke: colourOf(place),
          strokeWidth: single ? 2.2 : 1.5,
          strokeDasharray: dashOf(place),
        }),
      ),
      plot.tip(
        lines.flatMap(({ points }) => points),
        plot.pointer({ x: "x", y: "y", channels: { run: "run", fold: "fold", threshold: "threshold" } }),
      ),
    ],
  });
}
