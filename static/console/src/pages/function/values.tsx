// A function on values: a field for each known input, and the same as JSON.
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { JsonPane, Parameters } from "../../ui/form/form";
import { type Json, type Placed, place } from "../../ui/form/schema";
import { addressOf, applyTo } from "./apply";
import { fieldsOf, type ValueInfo } from "./info";
import { TrialResult, useTrial } from "./trial";

const MOST_FIELDS = 60; // more inputs than this are only written as JSON

export function TryValues({ id, input }: { id: string; input: ValueInfo | undefined }) {
  const values = useSignal<Json>({});
  const [trial, run] = useTrial();
  const fields = useMemo(() => fieldsOf(input), [input]);
  const few = fields.length > 0 && fields.reduce((sum, { type }) => sum + (type.fields?.length ?? 1), 0) <= MOST_FIELDS;
  const { error } = trial.value;
  const problem: Placed | undefined = error && place(error, fields, values.value);
  const change = (next: Json) => {
    values.value = next;
    return "";
  };
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        run(() => applyTo(id, values.value));
      }}
    >
      <div class={few ? "form-panes" : ""}>
        {few && (
          <Parameters
            fields={fields}
            values={values.value}
            problem={problem?.field ? problem : undefined}
            onChange={change}
          />
        )}
        <aside>
          <h3>As JSON</h3>
          <JsonPane label="Input as JSON" value={values.value} onChange={change} />
        </aside>
      </div>
      <div class="row">
        <button type="submit" class="primary" disabled={trial.value.busy}>
          Apply
        </button>
        <a href={addressOf(id, values.value)}>As a URL</a>
      </div>
      <TrialResult trial={trial.value} />
    </form>
  );
}
