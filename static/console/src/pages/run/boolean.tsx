// How good a boolean classifier is: its curves, and what each threshold would mean.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { attempt } from "../../toasts";
import { count, number } from "../../ui/format";
import { Chart, type PlotLibrary } from "./chart";
import { Confusion } from "./confusion";
import {
  AXES,
  areOf,
  type BooleanStatistics,
  MOST,
  rates,
  ratio,
  rocPoints,
  scored,
  type Threshold,
  thinned,
} from "./thresholds";

export function BooleanReport({ statistics, dataset }: { statistics: BooleanStatistics; dataset: string }) {
  const thresholds = useSignal<Threshold[] | undefined>(undefined);
  useEffect(() => {
    if (!dataset) return;
    attempt(async () => {
      thresholds.value = await scored(dataset);
    });
  }, [dataset, thresholds]);
  return (
    <>
      <dl class="facts card">
        <Fact name="Area under the ROC curve" value={statistics.auc} />
        <Fact name="Best F1 score" value={statistics.bestF1Score.pr.f1Score} />
        <Fact name="at threshold" value={statistics.bestF1Score.threshold} />
        <Fact name="Best Matthews correlation" value={statistics.bestMcc.mcc} />
      </dl>
      {!dataset && <p class="soft">With an outputDataset the report has curves and a threshold to choose.</p>}
      {thresholds.value &&
        thresholds.value.length > 0 &&
        (areOf(thresholds.value, statistics) ? (
          <Curves thresholds={thresholds.value} statistics={statistics} />
        ) : (
          <p class="soft">There are no curves: another run has written its scored rows into {dataset} since.</p>
        ))}
    </>
  );
}

export function Fact({ name, value }: { name: string; value: number }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd class="fact">{number(value)}</dd>
    </div>
  );
}

function Curves({ thresholds, statistics }: { thresholds: Threshold[]; statistics: BooleanStatistics }) {
  const nearest = (score: number) =>
    thresholds.reduce((best, each, at) => {
      const known = thresholds[best]?.score ?? Number.POSITIVE_INFINITY;
      return Math.abs(each.score - score) < Math.abs(known - score) ? at : best;
    }, 0);
  const chosen = useSignal(nearest(statistics.bestF1Score.threshold));
  const current = thresholds[chosen.value] as Threshold;
  const now = rates(current);
  const choose = (score: number) => {
    chosen.value = nearest(score);
  };
  return (
    <>
      <section class="card stack" aria-labelledby="threshold-title">
        <h2 id="threshold-title">Threshold</h2>
        {thresholds.length === MOST && <p class="soft small">Only the highest {count(MOST)} scores are shown.</p>}
        <div class="row">
          <input
            class="grow"
            type="range"
            aria-label="Threshold"
            aria-valuetext={`${number(current.score)}: precision ${number(now.precision)}, recall ${number(now.recall)}`}
            min={0}
            max={thresholds.length - 1}
            value={thresholds.length - 1 - chosen.value}
            onInput={(event) => {
              chosen.value = thresholds.length - 1 - Number(event.currentTarget.value);
            }}
          />
          <output class="mono threshold">{number(current.score)}</output>
          <button type="button" class="small" onClick={() => choose(statistics.bestF1Score.threshold)}>
            Best F1
          </button>
          <button type="button" class="small" onClick={() => choose(statistics.bestMcc.threshold)}>
            Best MCC
          </button>
        </div>
        <div class="at-threshold">
          <dl class="facts" aria-live="polite">
            <Fact name="Precision" value={now.precision} />
            <Fact name="Recall" value={now.recall} />
            <Fact name="F1 score" value={now.f1} />
            <Fact name="Accuracy" value={now.accuracy} />
          </dl>
          <Confusion
            cells={[
              { actual: "true", predicted: "true", count: current.tp },
              { actual: "true", predicted: "false", count: current.fn },
              { actual: "false", predicted: "true", count: current.fp },
              { actual: "false", predicted: "false", count: current.tn },
            ]}
          />
        </div>
      </section>
      <div class="charts">
        <figure class="card">
          <figcaption>ROC curve</figcaption>
          <Chart
            label={`ROC curve, area ${number(statistics.auc)}`}
            of={[thresholds, chosen.value]}
            draw={(plot, width) => roc(plot, width, thresholds, current)}
          />
        </figure>
        <figure class="card">
          <figcaption>Precision and recall</figcaption>
          <Chart
            label="Precision by recall"
            of={[thresholds, chosen.value]}
            draw={(plot, width) => precisionRecall(plot, width, thresholds, current)}
          />
        </figure>
      </div>
    </>
  );
}

function roc(plot: PlotLibrary, width: number, thresholds: Threshold[], current: Threshold) {
  const points = rocPoints(thresholds);
  const now = rates(current);
  return plot.plot({
    width,
    height: Math.min(380, width * 0.85),
    marginLeft: 45,
    x: { ...AXES, label: "false positive rate" },
    y: { ...AXES, label: "true positive rate" },
    marks: [
      plot.line(
        [
          [0, 0],
          [1, 1],
        ],
        { stroke: "var(--soft)", strokeDasharray: "4 4" },
      ),
      plot.areaY(points, { x: "x", y1: 0, y2: "y", fill: "var(--accent)", fillOpacity: 0.1 }),
      plot.line(points, { x: "x", y: "y", stroke: "var(--accent)", strokeWidth: 2 }),
      plot.dot([{ x: now.falsePositiveRate, y: now.recall }], { x: "x", y: "y", r: 6, fill: "var(--error)" }),
      plot.tip(points, plot.pointer({ x: "x", y: "y", channels: { threshold: "threshold" } })),
    ],
  });
}

function precisionRecall(plot: PlotLibrary, width: number, thresholds: Threshold[], current: Threshold) {
  const points = thinned(thresholds).map((each) => ({ ...rates(each), threshold: each.score }));
  const now = rates(current);
  const share = ratio(current.tp + current.fn, current.tp + current.fn + current.fp + current.tn);
  return plot.plot({
    width,
    height: Math.min(380, width * 0.85),
    marginLeft: 45,
    x: { ...AXES, label: "recall" },
    y: { ...AXES, label: "precision" },
    marks: [
      plot.ruleY([share], { stroke: "var(--soft)", strokeDasharray: "4 4" }),
      plot.line(points, { x: "recall", y: "precision", stroke: "var(--accent)", strokeWidth: 2 }),
      plot.dot([now], { x: "recall", y: "precision", r: 6, fill: "var(--error)" }),
      plot.tip(points, plot.pointer({ x: "recall", y: "precision", channels: { threshold: "threshold", F1: "f1" } })),
    ],
  });
}
