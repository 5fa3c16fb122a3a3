// A whole configuration: fields by their types, and the same as JSON; each follows the other.
import { useSignal } from "@preact/signals";
import { Fields } from "./fields";
import { essential, type FieldInfo, isObject, type Json, needed, type Placed, under } from "./schema";
import "./form.css";

interface ParametersProps {
  fields: FieldInfo[];
  values: Json;
  problem: Placed | undefined;
  onChange: (values: Json) => void;
}

/** The fields that usually matter, and the others behind a fold that opens where one is set or wrong. */
export function Parameters({ fields, values, problem, onChange }: ParametersProps) {
  const all = fields.length <= 6;
  const first = needed(all ? fields : fields.filter(essential));
  const others = all ? [] : fields.filter((field) => !essential(field));
  const wanted = others.some(({ name }) => name in values || under(problem, name));
  const shared = { values, problem, onChange };
  return (
    <div class="params">
      <Fields fields={first} {...shared} />
      {others.length > 0 && (
        <details open={wanted}>
          <summary>
            {others.length} more with defaults: <span class="soft">{others.map(({ name }) => name).join(", ")}</span>
          </summary>
          <Fields fields={others} {...shared} />
        </details>
      )}
    </div>
  );
}

interface JsonPaneProps {
  label: string;
  value: Json;
  /** Takes what was read, or says why not. */
  onChange: (value: Json) => string;
}

/** The configuration as text. While it is being typed it stays as typed; the form takes it over when it can be read. */
export function JsonPane({ label, value, onChange }: JsonPaneProps) {
  const draft = useSignal<string | undefined>(undefined);
  const problem = useSignal("");
  const text = draft.value ?? JSON.stringify(value, null, 2);
  const take = (typed: string) => {
    draft.value = typed;
    try {
      const read: unknown = JSON.parse(typed);
      if (!isObject(read)) throw new Error("This must be an object: { … }");
      problem.value = onChange(read);
    } catch (error) {
      problem.value = error instanceof SyntaxError ? "This is no JSON yet; the form keeps what it had." : String(error);
    }
  };
  return (
    <div class="json-pane">
      <textarea
        class="mono"
        aria-label={label}
        aria-invalid={problem.value ? "true" : undefined}
        spellcheck={false}
        rows={Math.min(28, Math.max(6, text.split("\n").length + 1))}
        value={text}
        onInput={(event) => take(event.currentTarget.value)}
        onBlur={() => {
          if (!problem.value) draft.value = undefined;
        }}
      />
      {problem.value && (
        <p class="param-problem small" role="status">
          {problem.value}
        </p>
      )}
    </div>
  );
}

/** The first required field that has no value, as an error of that field would be placed. */
export function missing(fields: FieldInfo[], values: Json): string | undefined {
  return fields.find((field) => !("default" in field) && values[field.name] === undefined)?.name;
}

/** Put the cursor into a field, which may be below one that has an input. */
export function focusField(path: string): void {
  const parts = path.split(".");
  for (let length = parts.length; length > 0; length -= 1) {
    const box = document.querySelector(`[data-field="${CSS.escape(parts.slice(0, length).join("."))}"]`);
    if (!box) continue;
    box.closest("details")?.setAttribute("open", "");
    box.scrollIntoView({ block: "center" });
    const shadow = box.querySelector(".sql-field")?.shadowRoot?.querySelector<HTMLElement>("[contenteditable]");
    (shadow ?? box.querySelector<HTMLElement>("input, select, textarea, button"))?.focus();
    return;
  }
}
