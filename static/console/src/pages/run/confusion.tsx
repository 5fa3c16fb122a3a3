// A confusion matrix: what rows are against what was said of them, shaded by the share of the row.
import { count, number } from "../../ui/format";

export interface Cell {
  actual: unknown;
  predicted: unknown;
  count: number;
}

const MOST_LABELS = 30;
const STRONGEST = 38; // per cent of colour: text stays readable on it in light and dark

const text = (label: unknown) => (typeof label === "string" ? label : JSON.stringify(label));

export function Confusion({ cells }: { cells: Cell[] }) {
  const support = new Map<string, number>();
  const counts = new Map<string, number>();
  for (const cell of cells) {
    const [actual, predicted] = [text(cell.actual), text(cell.predicted)];
    support.set(actual, (support.get(actual) ?? 0) + cell.count);
    if (!support.has(predicted)) support.set(predicted, 0);
    counts.set(JSON.stringify([actual, predicted]), cell.count);
  }
  const all = [...support.keys()].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const most = [...all].sort((a, b) => (support.get(b) ?? 0) - (support.get(a) ?? 0)).slice(0, MOST_LABELS);
  const labels = all.filter((label) => most.includes(label));
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <section class="scroll-x" tabIndex={0} aria-label="Confusion matrix">
      <table class="confusion">
        <caption class="small soft">
          Rows: actual. Columns: predicted.
          {all.length > labels.length && ` The ${MOST_LABELS} most frequent of ${all.length} labels.`}
        </caption>
        <thead>
          <tr>
            <td />
            {labels.map((label) => (
              <th key={label} scope="col">
                {label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {labels.map((actual) => (
            <tr key={actual}>
              <th scope="row">{actual}</th>
              {labels.map((predicted) => (
                <Count
                  key={predicted}
                  value={counts.get(JSON.stringify([actual, predicted])) ?? 0}
                  of={support.get(actual) ?? 0}
                  right={actual === predicted}
                />
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Count({ value, of, right }: { value: number; of: number; right: boolean }) {
  const share = of ? value / of : 0;
  return (
    <td
      class={right ? "right" : "wrong"}
      style={{ "--strength": `${(share * STRONGEST).toFixed(1)}%` }}
      title={`${Math.round(share * 100)} % of the row`}
    >
      {value ? Number.isInteger(value) ? count(value) : number(value) : <span class="soft">·</span>}
    </td>
  );
}
