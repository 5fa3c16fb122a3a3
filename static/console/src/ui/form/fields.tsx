// Fields of a form, one for each kind of parameter type; values are plain JSON, `undefined` leaves the default.
import { signal, useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { json } from "../../api";
import { entities } from "../../live";
import {
  bare,
  type FieldInfo,
  isObject,
  isSql,
  type Json,
  LOOSE,
  type Placed,
  required,
  same,
  under,
  withMember,
} from "./schema";
import { Sql } from "./sql";

export interface ValueProps {
  /** Dotted path of the field, which is its `id` too. */
  path: string;
  label: string;
  type: FieldInfo["type"];
  value: unknown;
  /** What counts without a value. */
  otherwise: unknown;
  problem: Placed | undefined;
  onChange: (value: unknown) => void;
}

interface FieldsProps {
  fields: FieldInfo[];
  /** Path of the object that they are members of, with a dot at its end; "" at the top. */
  prefix?: string;
  values: Json;
  problem: Placed | undefined;
  onChange: (values: Json) => void;
}

export function Fields({ fields, prefix = "", values, problem, onChange }: FieldsProps) {
  return (
    <>
      {fields.map((field) => (
        <Field
          key={field.name}
          field={field}
          path={prefix + field.name}
          value={values[field.name]}
          problem={under(problem, prefix + field.name)}
          onChange={(value) => onChange(withMember(values, field.name, value))}
        />
      ))}
    </>
  );
}

interface FieldProps {
  field: FieldInfo;
  path: string;
  value: unknown;
  problem: Placed | undefined;
  onChange: (value: unknown) => void;
}

/** Name, meaning and default at one side, what is entered at the other, the server's complaint below it. */
function Field({ field, path, value, problem, onChange }: FieldProps) {
  const type = bare(field.type);
  const nested = type.kind === "STRUCTURE" || type.kind === "ARRAY" || type.kind === "MAP" || type.kind === "TUPLE";
  const single = !nested && !isSql(type) && type.typeName !== "OutputDataset";
  const Name = single ? "label" : "span";
  const broad = type.kind === "STRUCTURE" || (type.kind === "STRING" && LONG_TEXTS.test(field.name));
  const problemHere = problem && <Complaint path={path} problem={problem} />;
  return (
    <div class={`param${broad ? " broad" : ""}${problem ? " wrong" : ""}`} data-field={path}>
      <div class="param-doc">
        <Name {...(single ? { for: path } : {})} class="param-name" id={`${path}-name`}>
          {field.name}
          {required(field) && (
            <span class="param-required" title="required">
              {" "}
              required
            </span>
          )}
        </Name>
        {field.comment && (
          <p id={`${path}-doc`} class="small soft">
            {field.comment}
          </p>
        )}
      </div>
      <div class="param-value">
        <Value
          path={path}
          label={field.name}
          type={type}
          value={value}
          otherwise={field.default}
          problem={problem}
          onChange={(next) => onChange(same(next, field.default) ? undefined : next)}
        />
        {problemHere}
      </div>
    </div>
  );
}

function Complaint({ path, problem }: { path: string; problem: Placed }) {
  return (
    <p id={`${path}-problem`} class="param-problem small" role="alert">
      {problem.field !== path && <strong>{problem.field.slice(path.length + 1)}: </strong>}
      {problem.text}
    </p>
  );
}

/** What ties an input to its name, its documentation and its complaint. */
function described({ path, problem }: ValueProps) {
  return {
    id: path,
    "aria-describedby": problem ? `${path}-problem ${path}-doc` : `${path}-doc`,
    "aria-invalid": problem ? ("true" as const) : undefined,
  };
}

const LONG_TEXTS = /^(source|main|routes|stdInData)$/;

function Value(props: ValueProps) {
  const { type } = props;
  if (type.typeName === "InputQuery" && !isObject(props.value)) return <SqlValue {...props} statement />;
  if (type.typeName === "SqlExpression") return <SqlValue {...props} statement={false} />;
  if (type.typeName === "OutputDataset") return <DatasetValue {...props} output />;
  if (type.typeName === "Dataset") return <DatasetValue {...props} output={false} />;
  switch (type.kind) {
    case "BOOLEAN":
      return <BooleanValue {...props} />;
    case "INTEGER":
    case "FLOAT":
      return <NumberValue {...props} />;
    case "STRING":
      return <TextValue {...props} />;
    case "ENUM":
      return <EnumValue {...props} />;
    case "ARRAY":
      return <ListValue {...props} />;
    case "TUPLE":
      return <TupleValue {...props} />;
    case "STRUCTURE":
      return <StructureValue {...props} />;
    case "MAP":
      return bare(type.inner?.[1] ?? { kind: "ANY", typeName: "any" }).kind === "ANY" ? (
        <JsonValue {...props} />
      ) : (
        <MapValue {...props} />
      );
    default:
      return <JsonValue {...props} loose={type.typeName === LOOSE} />;
  }
}

function SqlValue({ label, value, otherwise, problem, onChange, statement }: ValueProps & { statement: boolean }) {
  const text = typeof value === "string" ? value : typeof otherwise === "string" ? otherwise : "";
  return (
    <Sql
      label={label}
      value={text}
      hint={statement ? "SELECT … FROM …" : "SQL"}
      statement={statement}
      error={problem?.error}
      onChange={(next) => onChange(next || undefined)}
    />
  );
}

function TextValue(props: ValueProps) {
  const { label, value, otherwise, onChange } = props;
  const shown = typeof value === "string" ? value : typeof otherwise === "string" ? otherwise : "";
  const change = (text: string) => onChange(text || (otherwise ? "" : undefined));
  const shared = { ...described(props), value: shown, spellcheck: false };
  if (LONG_TEXTS.test(label)) {
    return <textarea {...shared} class="mono" rows={6} onInput={(event) => change(event.currentTarget.value)} />;
  }
  const hint = /url$/i.test(label) ? "file:///mldb_data/…" : undefined;
  return (
    <input
      {...shared}
      type="text"
      autocomplete="off"
      placeholder={hint}
      onInput={(event) => change(event.currentTarget.value)}
    />
  );
}

function NumberValue(props: ValueProps) {
  const { type, value, otherwise, onChange } = props;
  const shown = value ?? otherwise;
  return (
    <input
      {...described(props)}
      type="number"
      step={type.kind === "INTEGER" ? 1 : "any"}
      value={typeof shown === "number" ? shown : ""}
      onInput={({ currentTarget: { value: text, valueAsNumber } }) =>
        onChange(text && Number.isFinite(valueAsNumber) ? valueAsNumber : undefined)
      }
    />
  );
}

/** A switch; three ways where leaving it out means something of its own. */
function BooleanValue(props: ValueProps) {
  const { label, value, otherwise, onChange } = props;
  if (typeof otherwise !== "boolean") {
    const shown = value === undefined ? "" : String(value);
    const change = (text: string) => onChange(text === "" ? undefined : text === "true");
    return (
      <select {...described(props)} value={shown} onChange={(event) => change(event.currentTarget.value)}>
        <option value="">not set</option>
        <option value="true">true</option>
        <option value="false">false</option>
      </select>
    );
  }
  return (
    <input
      {...described(props)}
      type="checkbox"
      aria-label={label}
      checked={typeof value === "boolean" ? value : otherwise}
      onChange={(event) => onChange(event.currentTarget.checked)}
    />
  );
}

function EnumValue(props: ValueProps) {
  const { type, value, otherwise, onChange } = props;
  const shown = String(value ?? otherwise ?? "");
  return (
    <select {...described(props)} value={shown} onChange={(event) => onChange(event.currentTarget.value || undefined)}>
      {!otherwise && <option value="">choose</option>}
      {type.values?.map((each) => (
        <option key={each} value={each}>
          {each}
        </option>
      ))}
    </select>
  );
}

/** A dataset by its id; one that is to be made also has a type, and may have parameters, which are shown as JSON. */
function DatasetValue(props: ValueProps & { output: boolean }) {
  const { path, label, value, output, onChange } = props;
  useEffect(() => {
    if (output) loadDatasetTypes();
  }, [output]);
  if (isObject(value) && Object.keys(value).some((name) => name !== "id" && name !== "type")) {
    return <JsonValue {...props} />;
  }
  const id = String((isObject(value) ? value.id : value) ?? "");
  const type = isObject(value) ? String(value.type ?? "") : "";
  const change = (nextId: string, nextType: string) =>
    onChange(nextType ? { ...(nextId ? { id: nextId } : {}), type: nextType } : nextId || undefined);
  return (
    <div class="row">
      <input
        {...described(props)}
        class="grow"
        type="text"
        autocomplete="off"
        aria-label={label}
        list={`${path}-known`}
        placeholder={output ? "name of the dataset" : "a dataset"}
        value={id}
        onInput={(event) => change(event.currentTarget.value.trim(), type)}
      />
      <datalist id={`${path}-known`}>
        {entities.dataset.value.map((dataset) => (
          <option key={dataset.id} value={dataset.id} />
        ))}
      </datalist>
      {output && (
        <select
          aria-label={`Type of ${label}`}
          value={type}
          onChange={(event) => change(id, event.currentTarget.value)}
        >
          <option value="">usual type</option>
          {datasetTypes.value.map((each) => (
            <option key={each} value={each}>
              {each}
            </option>
          ))}
        </select>
      )}
    </div>
  );
}

const datasetTypes = signal<string[]>([]);

async function loadDatasetTypes(): Promise<void> {
  if (!datasetTypes.value.length)
    datasetTypes.value = await json<string[]>("GET", "/v1/types/datasets").catch(() => []);
}

/**
 * Free JSON; `loose`: or a text as it is. What cannot be read is kept as it is typed, leaves the value that was, and
 * keeps the form from being sent.
 */
function JsonValue({ loose = false, ...props }: ValueProps & { loose?: boolean }) {
  const { value, otherwise, label, onChange } = props;
  const given = value ?? otherwise ?? undefined;
  const draft = useSignal<string | undefined>(undefined);
  const bad = useSignal(false);
  const written = given === undefined ? "" : loose && plain(given) ? (given as string) : JSON.stringify(given, null, 2);
  const text = draft.value ?? written;
  return (
    <>
      <textarea
        {...described(props)}
        class="mono"
        aria-label={label}
        spellcheck={false}
        rows={Math.min(14, Math.max(2, text.split("\n").length))}
        placeholder={loose ? "a text, a number, JSON" : "JSON"}
        value={text}
        onInput={(event) => {
          draft.value = event.currentTarget.value;
          bad.value = !read(draft.value, loose, onChange);
          event.currentTarget.setCustomValidity(bad.value ? NO_JSON : "");
        }}
        onBlur={() => {
          if (!bad.value) draft.value = undefined;
        }}
      />
      {bad.value && <p class="param-problem small">{NO_JSON}</p>}
    </>
  );
}

const NO_JSON = "This is no JSON yet.";

/** Whether a value is a text that is not taken for JSON, so that it can be written without quotes. */
function plain(value: unknown): boolean {
  if (typeof value !== "string" || /^\s*([[{"]|$)/.test(value)) return false;
  try {
    JSON.parse(value);
    return false;
  } catch {
    return true;
  }
}

function read(text: string, loose: boolean, onChange: (value: unknown) => void): boolean {
  if (!text.trim()) {
    onChange(undefined);
    return true;
  }
  try {
    onChange(JSON.parse(text));
  } catch {
    if (!loose || !plain(text)) return false;
    onChange(text);
  }
  return true;
}

function StructureValue({ path, type, value, problem, onChange }: ValueProps) {
  const change = (next: Json) => onChange(Object.keys(next).length ? next : undefined);
  return (
    <fieldset class="param-group" aria-labelledby={`${path}-name`}>
      <Fields
        fields={type.fields ?? []}
        prefix={`${path}.`}
        values={isObject(value) ? value : {}}
        problem={problem}
        onChange={change}
      />
    </fieldset>
  );
}

interface ItemProps {
  label: string;
  onRemove: () => void;
  children: ComponentChildren;
}

function Item({ label, onRemove, children }: ItemProps) {
  return (
    <li class="param-item">
      <div class="grow">{children}</div>
      <button type="button" class="quiet small" aria-label={`Remove ${label}`} onClick={onRemove}>
        ✕
      </button>
    </li>
  );
}

function ListValue({ path, label, type, value, otherwise, problem, onChange }: ValueProps) {
  const inner = bare(type.inner?.[0] ?? { kind: "ANY", typeName: "any" });
  const items = Array.isArray(value) ? value : Array.isArray(otherwise) ? otherwise : [];
  const change = (next: unknown[]) => onChange(next.length || (otherwise as unknown[])?.length ? next : undefined);
  const add = () => change([...items, blank(inner)]);
  return (
    <fieldset aria-labelledby={`${path}-name`}>
      <ul class="param-list">
        {items.map((item, index) => (
          <Item
            key={index}
            label={`${label} ${index + 1}`}
            onRemove={() => change(items.filter((_, at) => at !== index))}
          >
            <Unnamed
              path={`${path}.${index}`}
              label={`${label} ${index + 1}`}
              type={inner}
              value={item}
              problem={under(problem, `${path}.${index}`)}
              onChange={(next) => change(items.map((old, at) => (at === index ? (next ?? blank(inner)) : old)))}
            />
          </Item>
        ))}
      </ul>
      <button type="button" class="small" id={items.length ? undefined : path} onClick={add}>
        Add to {label}
      </button>
    </fieldset>
  );
}

function blank(type: FieldInfo["type"]): unknown {
  const known = { INTEGER: 0, FLOAT: 0, BOOLEAN: false, STRING: "", ENUM: type.values?.[0], ARRAY: [], ANY: null };
  if (type.kind === "TUPLE") return type.inner?.map(blank) ?? [];
  if (type.typeName === "OutputDataset" || type.typeName === "InputQuery") return "";
  return type.kind in known ? known[type.kind as keyof typeof known] : {};
}

/** A value whose name is only for those who hear the page. */
function Unnamed({ path, label, type, value, problem, onChange }: Omit<ValueProps, "otherwise">) {
  return (
    <>
      <label class="visually-hidden" for={path} id={`${path}-name`}>
        {label}
      </label>
      <Value
        path={path}
        label={label}
        type={type}
        value={value}
        otherwise={undefined}
        problem={problem}
        onChange={onChange}
      />
    </>
  );
}

function TupleValue({ path, label, type, value, problem, onChange }: ValueProps) {
  const inner = (type.inner ?? []).map(bare);
  const items = Array.isArray(value) ? value : inner.map(blank);
  return (
    <div class="row">
      {inner.map((each, index) => (
        <div key={index} class="grow">
          <Unnamed
            path={`${path}.${index}`}
            label={`${label}, part ${index + 1}`}
            type={each}
            value={items[index]}
            problem={under(problem, `${path}.${index}`)}
            onChange={(next) => onChange(items.map((old, at) => (at === index ? (next ?? blank(each)) : old)))}
          />
        </div>
      ))}
    </div>
  );
}

function MapValue({ path, label, type, value, otherwise, problem, onChange }: ValueProps) {
  const inner = bare(type.inner?.[1] ?? { kind: "ANY", typeName: "any" });
  const entries = Object.entries(isObject(value) ? value : isObject(otherwise) ? otherwise : {});
  const change = (next: [string, unknown][]) => onChange(next.length ? Object.fromEntries(next) : undefined);
  const fresh = () => {
    let number = entries.length + 1;
    while (entries.some(([name]) => name === `name ${number}`)) number += 1;
    return `name ${number}`;
  };
  return (
    <fieldset aria-labelledby={`${path}-name`}>
      <ul class="param-list">
        {entries.map(([name, item], index) => (
          <Item key={index} label={name} onRemove={() => change(entries.filter((_, at) => at !== index))}>
            <input
              aria-label={`Name in ${label}`}
              value={name}
              onChange={(event) => {
                const next = event.currentTarget.value;
                change(entries.map((old, at) => (at === index ? [next, old[1]] : old)));
              }}
            />
            <Unnamed
              path={`${path}.${name}`}
              label={`${label}: ${name}`}
              type={inner}
              value={item}
              problem={under(problem, `${path}.${name}`)}
              onChange={(next) =>
                change(entries.map((old, at) => (at === index ? [old[0], next ?? blank(inner)] : old)))
              }
            />
          </Item>
        ))}
      </ul>
      <button
        type="button"
        class="small"
        id={entries.length ? undefined : path}
        onClick={() => change([...entries, [fresh(), blank(inner)]])}
      >
        Add to {label}
      </button>
    </fieldset>
  );
}
