// What tells how good a classifier is, by the place in its statistics; each mode has some of them.
export interface Measure {
  name: string;
  /** In the head of a narrow column. */
  short: string;
  parts: string[];
  /** Less is better. */
  descending?: boolean;
}

export const MEASURES: Measure[] = [
  { name: "Area under the ROC curve", short: "AUC", parts: ["auc"] },
  { name: "Best F1 score", short: "Best F1", parts: ["bestF1Score", "pr", "f1Score"] },
  { name: "Best Matthews correlation", short: "Best MCC", parts: ["bestMcc", "mcc"] },
  { name: "R²", short: "R²", parts: ["r2"] },
  { name: "Mean squared error", short: "MSE", parts: ["mse"], descending: true },
  { name: "Precision, weighted", short: "Precision", parts: ["weightedStatistics", "precision"] },
  { name: "Recall, weighted", short: "Recall", parts: ["weightedStatistics", "recall"] },
  { name: "F1 score, weighted", short: "F1", parts: ["weightedStatistics", "f1Score"] },
];

/** A measure in statistics, of one test or of several; `undefined` where they have it not. */
export function at(statistics: unknown, { parts }: Measure): unknown {
  return parts.reduce<unknown>((inner, part) => (inner as Record<string, unknown> | undefined)?.[part], statistics);
}
