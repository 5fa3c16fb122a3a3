// How good a classifier of several labels is: the confusion matrix, and each label by itself.
import { number } from "../../ui/format";
import { Fact } from "./boolean";
import { type Cell, Confusion } from "./confusion";

interface LabelStatistics {
  accuracy: number;
  precision: number;
  recall: number;
  f1Score: number;
  support: number;
  recallOverTopN?: number[];
  /** Labels to go through, the best first, until all right ones are found; on average. */
  coverageError?: number;
}

export interface LabelledStatistics {
  labelStatistics: Record<string, Partial<LabelStatistics>>;
  weightedStatistics: Partial<LabelStatistics>;
  confusionMatrix?: Cell[];
  recallOverN?: number[];
}

const NAMES = { precision: "Precision", recall: "Recall", f1Score: "F1 score", accuracy: "Accuracy" } as const;

export function LabelsReport({ statistics }: { statistics: LabelledStatistics }) {
  const { labelStatistics, weightedStatistics, confusionMatrix, recallOverN = [] } = statistics;
  const cells = confusionMatrix ?? [];
  const total = cells.reduce((sum, cell) => sum + cell.count, 0);
  const right = cells.reduce((sum, cell) => sum + (cell.actual === cell.predicted ? cell.count : 0), 0);
  const weighted = Object.entries(NAMES).filter(([name]) => typeof at(weightedStatistics, name) === "number");
  return (
    <>
      <dl class="facts card">
        {total > 0 && <Fact name="Accuracy" value={right / total} />}
        {weighted
          .filter(([name]) => name !== "accuracy" || !total)
          .map(([name, title]) => (
            <Fact key={name} name={`${title}, weighted`} value={at(weightedStatistics, name) as number} />
          ))}
        {weightedStatistics.coverageError !== undefined && (
          <Fact name="Labels until all right ones are found" value={weightedStatistics.coverageError} />
        )}
        {recallOverN.map((n, index) => (
          <Fact
            key={n}
            name={`Right label in the first ${n}`}
            value={weightedStatistics.recallOverTopN?.[index] ?? 0}
          />
        ))}
      </dl>
      {total > 0 && (
        <div class="card">
          <h2>Confusion matrix</h2>
          <Confusion cells={cells} />
        </div>
      )}
      <PerLabel statistics={labelStatistics} tops={recallOverN} />
    </>
  );
}

const at = (statistics: Partial<LabelStatistics>, name: string) => statistics[name as keyof LabelStatistics];

interface PerLabelProps {
  statistics: LabelledStatistics["labelStatistics"];
  tops: number[];
}

function PerLabel({ statistics, tops }: PerLabelProps) {
  const columns = Object.entries(NAMES).filter(
    ([name]) => name !== "accuracy" && Object.values(statistics).some((each) => typeof at(each, name) === "number"),
  );
  if (!columns.length && !tops.length) return null;
  const supported = Object.values(statistics).some(({ support }) => support !== undefined);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <section class="card scroll-x" tabIndex={0} aria-label="Labels">
      <h2>By label</h2>
      <table class="list">
        <thead>
          <tr>
            <th>Label</th>
            {columns.map(([name, title]) => (
              <th key={name}>{title}</th>
            ))}
            {tops.map((n) => (
              <th key={n}>In the first {n}</th>
            ))}
            {supported && <th class="number">Rows</th>}
          </tr>
        </thead>
        <tbody>
          {Object.entries(statistics).map(([label, each]) => (
            <tr key={label}>
              <td>{label}</td>
              {columns.map(([name]) => (
                <td key={name}>
                  <Share value={(at(each, name) as number | undefined) ?? 0} />
                </td>
              ))}
              {tops.map((n, index) => (
                <td key={n}>
                  <Share value={each.recallOverTopN?.[index] ?? 0} />
                </td>
              ))}
              {supported && <td class="number">{number(each.support ?? 0)}</td>}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Share({ value }: { value: number }) {
  return (
    <>
      {value.toFixed(3)}
      <svg class="fill-bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
        <rect class="all" width="100" height="6" rx="3" />
        <rect width={value * 100} height="6" rx="3" />
      </svg>
    </>
  );
}
