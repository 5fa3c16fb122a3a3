// The statistics of a test, by the mode of the classifier.
import { BooleanReport } from "./boolean";
import { type LabelledStatistics, LabelsReport } from "./labels";
import { RegressionReport, type RegressionStatistics } from "./regression";
import type { BooleanStatistics } from "./thresholds";

interface TestReportProps {
  mode: string;
  statistics: unknown;
  /** The dataset of scored rows; "" without one. */
  dataset: string;
}

export function TestReport({ mode, statistics, dataset }: TestReportProps) {
  if (mode === "regression") {
    return <RegressionReport statistics={statistics as RegressionStatistics} dataset={dataset} />;
  }
  if (mode === "boolean") return <BooleanReport statistics={statistics as BooleanStatistics} dataset={dataset} />;
  return <LabelsReport statistics={statistics as LabelledStatistics} />;
}
