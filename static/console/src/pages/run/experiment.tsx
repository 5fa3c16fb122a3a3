// An experiment: what its folds have in common, and each of them.
import { useSignal } from "@preact/signals";
import { number } from "../../ui/format";
import { Importance } from "./importance";
import { at, MEASURES } from "./measures";
import { TestReport } from "./test";

interface Spread {
  min: number;
  max: number;
  mean: number;
  std: number;
}

export interface Fold {
  functionName: string;
  accuracyDataset?: string;
  resultsTest: unknown;
  durationSecs: { train: number; test: number };
}

export interface Experiment {
  folds: Fold[];
  aggregatedTest: unknown;
}

export function ExperimentReport({ experiment, mode }: { experiment: Experiment; mode: string }) {
  const chosen = useSignal(0);
  const fold = experiment.folds[chosen.value];
  if (!fold) return null;
  return (
    <>
      {experiment.folds.length > 1 && <Spreads of={experiment.aggregatedTest} />}
      {experiment.folds.length > 1 && (
        <div class="row tabs" role="tablist" aria-label="Folds">
          {experiment.folds.map((each, index) => (
            <button
              key={each.functionName}
              type="button"
              role="tab"
              class="small"
              aria-selected={chosen.value === index}
              onClick={() => {
                chosen.value = index;
              }}
            >
              Fold {index + 1}
            </button>
          ))}
        </div>
      )}
      <TestReport key={chosen.value} mode={mode} statistics={fold.resultsTest} dataset={fold.accuracyDataset ?? ""} />
      <Importance key={fold.functionName} functionName={fold.functionName} />
    </>
  );
}

function Spreads({ of }: { of: unknown }) {
  const shown = MEASURES.flatMap((measure): [string, Spread][] => {
    const found = at(of, measure);
    return found ? [[measure.name, found as Spread]] : [];
  });
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <section class="card scroll-x" tabIndex={0} aria-label="All folds">
      <h2>All folds</h2>
      <table class="list">
        <thead>
          <tr>
            <th>Measure</th>
            <th class="number">Mean</th>
            <th class="number">Standard deviation</th>
            <th class="number">Minimum</th>
            <th class="number">Maximum</th>
          </tr>
        </thead>
        <tbody>
          {shown.map(([name, { mean, std, min, max }]) => (
            <tr key={name}>
              <td>{name}</td>
              <td class="number">{number(mean)}</td>
              <td class="number">{number(std)}</td>
              <td class="number">{number(min)}</td>
              <td class="number">{number(max)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
