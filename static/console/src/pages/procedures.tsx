// The procedures of the server, each with its last run, live.
import { useSignal } from "@preact/signals";
import { type Entity, entities, loaded } from "../live";
import { link } from "../router";
import { Delete, State, Steps } from "../ui/entities";
import { ago } from "../ui/format";
import { Cancel, isActive, RunState, runLink, Start } from "../ui/runs";
import "./procedure/procedure.css";

const MANY = 8;

export default function Procedures() {
  const search = useSignal("");
  const all = entities.procedure.value;
  const wanted = search.value.toLowerCase();
  const found = all.filter(({ id, type }) => `${id} ${type}`.toLowerCase().includes(wanted));
  return (
    <>
      <header class="page-head">
        <h1>Procedures</h1>
        {all.length > MANY && (
          <input
            type="search"
            aria-label="Search the procedures"
            placeholder="Search"
            value={search.value}
            onInput={(event) => {
              search.value = event.currentTarget.value;
            }}
          />
        )}
        <a class="button primary" href="/console/new/procedure">
          New procedure
        </a>
      </header>
      {loaded.value && !all.length ? (
        <p class="empty">No procedure yet. They import and export data, train models and measure them.</p>
      ) : (
        <ul class="procedures">
          {found.map((procedure) => (
            <li key={procedure.id} class="card">
              <Procedure entity={procedure} />
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

function Procedure({ entity }: { entity: Entity }) {
  const { id, type, runs = [], error } = entity;
  const [last] = runs;
  return (
    <>
      <div class="procedure-name">
        <h2>
          <a href={link("/console/procedures/:id", { id })}>{id}</a>
        </h2>
        <code class="soft">{type}</code>
      </div>
      <div class="procedure-run">
        {entity.state !== "ok" && <State entity={entity} />}
        {error && <span class="small">{error.error}</span>}
        {last ? (
          <>
            <a href={runLink(id, last.id)} aria-label={`Last run of ${id}: ${last.state}`}>
              <RunState state={last.state} />
            </a>{" "}
            <span class="soft small">{ago(last.started)}</span>
            {isActive(last) && <Steps steps={last.progress?.steps ?? []} />}
            {last.error && <div class="small soft cut">{last.error.error}</div>}
          </>
        ) : (
          !error && <span class="soft small">never run</span>
        )}
      </div>
      <div class="row">
        {last && isActive(last) ? (
          <Cancel procedure={id} run={last} />
        ) : (
          entity.serving && <Start entity={entity} small />
        )}
        <Delete entity={entity} />
      </div>
    </>
  );
}
