// A function on a row of a dataset: the server reads the row, the page shows what it was and what came of it.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { json, path, sqlName, sqlText } from "../../api";
import { entities } from "../../live";
import { location, setQuery } from "../../router";
import type { Json } from "../../ui/form/schema";
import { Sql } from "../../ui/form/sql";
import { Output } from "../../ui/result";
import { callQuery, firstRow } from "./apply";
import { argumentOf, type ValueInfo } from "./info";
import { TrialResult, useTrial } from "./trial";

const ROWS = 100;

export function TryRow({ id, input }: { id: string; input: ValueInfo | undefined }) {
  const asked = location.value.searchParams.get("dataset") ?? "";
  const dataset = useSignal(asked || (entities.dataset.value[0]?.id ?? ""));
  const row = useSignal(location.value.searchParams.get("row") ?? "");
  const names = useSignal<string[]>([]);
  const argument = useSignal(argumentOf(input));
  const given = useSignal<Json | undefined>(undefined);
  const [trial, run] = useTrial();
  useEffect(() => {
    let current = true;
    json<string[]>("GET", `${path("datasets", dataset.value)}/rows`, { query: { limit: ROWS } }).then(
      (found) => {
        if (!current) return;
        names.value = found;
        row.value ||= found[0] ?? "";
      },
      () => {
        names.value = [];
      },
    );
    return () => {
      current = false;
    };
  }, [dataset.value, names, row]);
  if (!entities.dataset.value.length) return <p class="empty">There is no dataset to take a row from.</p>;
  const from = () => ` FROM ${sqlName(dataset.value)} WHERE rowName() = ${sqlText(row.value)}`;
  const query = () => callQuery(id, argument.value, from());
  const apply = () => {
    setQuery({ dataset: dataset.value, row: row.value });
    return run(async () => {
      given.value = undefined;
      const [shown, result] = await Promise.all([firstRow(`SELECT *${from()}`), firstRow(query())]);
      given.value = shown;
      return result;
    });
  };
  const another = () => {
    const others = names.value.filter((name) => name !== row.value);
    row.value = others[Math.floor(Math.random() * others.length)] ?? row.value;
    apply();
  };
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        apply();
      }}
    >
      <div class="row">
        <label class="field grow">
          Dataset
          <select
            value={dataset.value}
            onChange={(event) => {
              dataset.value = event.currentTarget.value;
              row.value = "";
            }}
          >
            {entities.dataset.value.map((each) => (
              <option key={each.id} value={each.id}>
                {each.id}
              </option>
            ))}
          </select>
        </label>
        <label class="field grow">
          Row
          <input
            required
            autocomplete="off"
            list="try-rows"
            value={row.value}
            onInput={(event) => {
              row.value = event.currentTarget.value;
            }}
          />
        </label>
        <datalist id="try-rows">
          {names.value.map((name) => (
            <option key={name} value={name} />
          ))}
        </datalist>
      </div>
      <details>
        <summary class="small">
          Input: <code>{argument.value}</code>
        </summary>
        <Sql
          label="Input made of the row"
          value={argument.value}
          hint="{*}"
          statement={false}
          onChange={(text) => {
            argument.value = text;
          }}
        />
      </details>
      <div class="row">
        <button type="submit" class="primary" disabled={trial.value.busy}>
          Apply
        </button>
        <button type="button" disabled={trial.value.busy || names.value.length < 2} onClick={another}>
          Another row
        </button>
        <a href={`/console/query?${new URLSearchParams({ q: query() })}`}>As a query</a>
      </div>
      <TrialResult trial={trial.value}>
        {given.value && (
          <details open>
            <summary>
              <h3 class="inline">The row</h3>
            </summary>
            <Output value={given.value} plain />
          </details>
        )}
      </TrialResult>
    </form>
  );
}
