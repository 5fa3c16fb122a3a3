// What a boolean classifier's scored rows say: counts and rates at each threshold, as curves want them.
import { sqlName, table } from "../../api";

/** Counts of the rows when all that score at least `score` are said to be true. */
export interface Threshold {
  score: number;
  tp: number;
  fp: number;
  tn: number;
  fn: number;
}

export const MOST = 100_000; // thresholds that are read
const DRAWN = 2000; // points of a curve

/** The thresholds of a dataset of scored rows, the highest score first. */
export async function scored(dataset: string): Promise<Threshold[]> {
  const counts = ["truePositives", "falsePositives", "trueNegatives", "falseNegatives"];
  const chosen = counts.map((name) => `max(${sqlName(name)}) AS ${sqlName(name)}`).join(", ");
  const { columns, rows } = await table(
    `SELECT score AS score, ${chosen} FROM ${sqlName(dataset)} GROUP BY score ORDER BY score DESC LIMIT ${MOST}`,
  );
  const at = ["score", ...counts].map((name) => columns.indexOf(name));
  return rows.map((row) => {
    const [score = 0, tp = 0, fp = 0, tn = 0, fn = 0] = at.map((index) => Number(row[index]));
    return { score, tp, fp, tn, fn };
  });
}

export const ratio = (above: number, below: number) => (below ? above / below : 0);

export function rates({ tp, fp, tn, fn }: Threshold) {
  const precision = ratio(tp, tp + fp);
  const recall = ratio(tp, tp + fn);
  return {
    precision,
    recall,
    f1: ratio(2 * precision * recall, precision + recall),
    accuracy: ratio(tp + tn, tp + tn + fp + fn),
    falsePositiveRate: ratio(fp, fp + tn),
  };
}

interface Point {
  threshold: number;
  counts: { truePositives: number; falsePositives: number; trueNegatives: number; falseNegatives: number };
  pr: { accuracy: number; precision: number; recall: number; f1Score: number };
  mcc: number;
}

export interface BooleanStatistics {
  auc: number;
  bestF1Score: Point;
  bestMcc: Point;
}

const SAME = 1e-4;

/** Whether a test with these statistics found them: a later run may have written the same dataset anew. */
export function areOf(thresholds: Threshold[], { auc, bestF1Score: { counts } }: BooleanStatistics): boolean {
  const best = [counts.truePositives, counts.falsePositives, counts.trueNegatives, counts.falseNegatives];
  return (
    thresholds.length === MOST ||
    (Math.abs(area(thresholds) - auc) < SAME &&
      thresholds.some(({ tp, fp, tn, fn }) =>
        [tp, fp, tn, fn].every((count, index) => Math.abs(count - (best[index] ?? 0)) < SAME),
      ))
  );
}

/** Under the ROC curve, by trapezoids as the server computes it. */
function area(thresholds: Threshold[]): number {
  let [sum, across, up] = [0, 0, 0];
  for (const each of thresholds) {
    const { falsePositiveRate, recall } = rates(each);
    sum += ((falsePositiveRate - across) * (recall + up)) / 2;
    [across, up] = [falsePositiveRate, recall];
  }
  return sum;
}

/** Few enough points for a line: the first and last, and evenly between. */
export function thinned(points: Threshold[]): Threshold[] {
  if (points.length <= DRAWN) return points;
  const step = (points.length - 1) / (DRAWN - 1);
  return Array.from({ length: DRAWN }, (_, index) => points[Math.round(index * step)] as Threshold);
}

/** The points of a ROC curve, from where nothing is said to be true. */
export function rocPoints(thresholds: Threshold[]) {
  const points = thinned(thresholds).map((each) => {
    const { falsePositiveRate, recall } = rates(each);
    return { x: falsePositiveRate, y: recall, threshold: each.score };
  });
  return [{ x: 0, y: 0, threshold: Number.POSITIVE_INFINITY }, ...points];
}

export const AXES = { domain: [0, 1], nice: false, grid: true } as const;
