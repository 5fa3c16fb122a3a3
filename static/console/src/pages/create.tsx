// A new entity of any kind: its type, its name, its parameters as a form and as JSON.
import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { ApiError, call, json, path } from "../api";
import { entity, type Kind } from "../live";
import { link, location, navigate, setQuery } from "../router";
import { attempt, complain, say } from "../toasts";
import { focusField, JsonPane, missing, Parameters } from "../ui/form/form";
import { type EntityTypeInfo, isObject, type Json, type Placed, place } from "../ui/form/schema";
import { Crumbs } from "../ui/page";
import { begin, runLink } from "../ui/runs";

interface Config {
  type: string;
  params: Json;
}

export function NewPlugin() {
  return <Create kind="plugin" />;
}

export function NewDataset() {
  return <Create kind="dataset" />;
}

export function NewFunction() {
  return <Create kind="function" />;
}

export function NewProcedure() {
  return <Create kind="procedure" />;
}

function Create({ kind }: { kind: Kind }) {
  const types = useSignal<[string, EntityTypeInfo][]>([]);
  const config = useSignal<Config>({ type: location.value.searchParams.get("type") ?? "", params: {} });
  const from = location.value.searchParams.get("from") ?? "";
  const id = useSignal(from);
  useEffect(() => {
    attempt(async () => {
      const [known, before] = await Promise.all([
        json<[string, EntityTypeInfo][]>("GET", `/v1/types/${kind}s`, { query: { details: true } }),
        from ? existing(kind, from) : undefined,
      ]);
      if (before) config.value = before; // before there is a form: what is entered is not overwritten
      types.value = known;
    });
  }, [kind, from, types, config]);
  const info = types.value.find(([name]) => name === config.value.type)?.[1];
  return (
    <>
      <Crumbs kind={kind} />
      <header class="page-head">
        <h1>{from ? `Change ${from}` : `New ${kind}`}</h1>
      </header>
      <div class="stack">
        <TypeChoice kind={kind} types={types.value} config={config} info={info} />
        {info && (
          <Configuration kind={kind} id={id} config={config} info={info} types={types.value.map(([name]) => name)} />
        )}
      </div>
    </>
  );
}

async function existing(kind: Kind, id: string): Promise<Config> {
  const { config } = await json<{ config: Partial<Config> }>("GET", path(`${kind}s`, id));
  return { type: config.type ?? "", params: config.params ?? {} };
}

interface TypeChoiceProps {
  kind: Kind;
  types: [string, EntityTypeInfo][];
  config: Signal<Config>;
  info: EntityTypeInfo | undefined;
}

function TypeChoice({ kind, types, config, info }: TypeChoiceProps) {
  const choose = (type: string) => {
    config.value = { type, params: {} };
    setQuery({ type, from: "" });
  };
  return (
    <section class="card stack" aria-label="Type">
      <label class="field">
        Type of the {kind}
        <select value={config.value.type} onChange={(event) => choose(event.currentTarget.value)}>
          <option value="">choose what it does</option>
          {types.map(([name, { description }]) => (
            <option key={name} value={name}>
              {name} · {description}
            </option>
          ))}
        </select>
      </label>
      {info ? (
        <p class="row">
          <span class="grow">{info.description}.</span>
          <a href={`/doc/builtin/${kind}s/${encodeURIComponent(config.value.type)}.md.html`}>Documentation</a>
        </p>
      ) : (
        types.length > 0 && <Starters kind={kind} types={types} onChoose={choose} />
      )}
    </section>
  );
}

const STARTERS: Record<Kind, string[]> = {
  plugin: ["python", "javascript", "experimental.external"],
  dataset: ["sparse.mutable", "tabular", "embedding", "merged", "sampled", "transposed"],
  function: ["sql.expression", "sql.query", "classifier", "script.apply", "fetcher", "tensorflow.graph"],
  procedure: ["import.text", "transform", "classifier.train", "classifier.test", "kmeans.train", "tsne.train"],
};

/** What most people come for, one click away. */
function Starters({
  kind,
  types,
  onChoose,
}: {
  kind: Kind;
  types: TypeChoiceProps["types"];
  onChoose: (type: string) => void;
}) {
  const known = types.filter(([name]) => STARTERS[kind].includes(name));
  return (
    <ul class="cards starters">
      {known.map(([name, { description }]) => (
        <li key={name}>
          <button type="button" onClick={() => onChoose(name)}>
            <strong>{name}</strong>
            <span class="soft small">{description}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}

interface ConfigurationProps {
  kind: Kind;
  id: Signal<string>;
  config: Signal<Config>;
  info: EntityTypeInfo;
  types: string[];
}

function Configuration({ kind, id, config, info, types }: ConfigurationProps) {
  const problem = useSignal<Placed | undefined>(undefined);
  const busy = useSignal(false);
  const form = useRef<HTMLFormElement>(null);
  // Whether a procedure is run is said by the button that is pressed.
  const fields = useMemo(() => (info.configType.fields ?? []).filter(({ name }) => name !== "runOnCreation"), [info]);
  const { type, params } = config.value;
  const taken = entity(kind, id.value) !== undefined;
  const refuse = (placed: Placed) => {
    problem.value = placed;
    if (placed.field) setTimeout(() => focusField(placed.field));
  };
  const create = async (run: boolean) => {
    const name = id.value.trim();
    if (!form.current?.reportValidity()) return;
    const lacking = missing(fields, params);
    if (lacking) return refuse(asked(lacking));
    busy.value = true;
    problem.value = undefined;
    try {
      await put(kind, name, config.value);
      if (run) navigate(runLink(name, await begin(name)));
      else navigate(kind === "plugin" ? "/" : link(`/console/${kind}s/:id`, { id: name }));
      say(`${name} was made`);
    } catch (error) {
      // What could not be made would stay in the list as broken.
      if (!taken) await call("DELETE", path(`${kind}s`, name)).catch(() => undefined);
      if (error instanceof ApiError && error.status) refuse(place(error, fields, params));
      else complain(error);
    } finally {
      busy.value = false;
    }
  };
  return (
    <form
      ref={form}
      class="form-panes"
      onSubmit={(event) => {
        event.preventDefault();
        create(kind === "procedure");
      }}
    >
      <section class="card" aria-label="Parameters">
        <label class="field">
          Name
          <input
            required
            autocomplete="off"
            value={id.value}
            onInput={(event) => {
              id.value = event.currentTarget.value;
            }}
          />
        </label>
        {taken && (
          <p class="notice warning">
            There is a {kind} {id.value} already; it will be replaced.
          </p>
        )}
        <Parameters
          fields={fields}
          values={params}
          problem={problem.value}
          onChange={(next) => {
            config.value = { type, params: next };
            problem.value = undefined;
          }}
        />
        {problem.value && !problem.value.field && (
          <p class="notice error" role="alert">
            {problem.value.text}
          </p>
        )}
        <div class="form-actions">
          <button type="submit" class="primary" disabled={busy.value}>
            {kind === "procedure" ? "Create and run" : "Create"}
          </button>
          {kind === "procedure" && (
            <button type="button" disabled={busy.value} onClick={() => create(false)}>
              Create only
            </button>
          )}
        </div>
      </section>
      <aside class="card stack">
        <h2>As JSON</h2>
        <p class="small soft">
          What{" "}
          <code>
            PUT /v1/{kind}s/{id.value || "…"}
          </code>{" "}
          is sent. The form follows what you write here.
        </p>
        <JsonPane
          label="Configuration as JSON"
          value={{ type, params }}
          onChange={(read) => {
            const named = String(read.type ?? "");
            if (!types.includes(named)) return `There is no type “${named}”; the form keeps what it had.`;
            config.value = { type: named, params: isObject(read.params) ? read.params : {} };
            problem.value = undefined;
            return "";
          }}
        />
      </aside>
    </form>
  );
}

function asked(field: string): Placed {
  const text = "This field is required.";
  return { field, text, error: new ApiError(0, { error: text }, "") };
}

async function put(kind: Kind, id: string, config: Config): Promise<void> {
  const params = kind === "procedure" ? { ...config.params, runOnCreation: false } : config.params;
  await call("PUT", path(`${kind}s`, id), { json: { type: config.type, params } });
}
