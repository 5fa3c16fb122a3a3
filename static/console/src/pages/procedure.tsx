// One procedure: running it, as it is or with other parameters for once, and its runs.
import { useSignal } from "@preact/signals";
import { ApiError, json, path } from "../api";
import { type Entity, entity, type Run } from "../live";
import { navigate } from "../router";
import { attempt, complain } from "../toasts";
import { CompareHint, CompareTicked, measures, Tick } from "../ui/compared";
import { Configured, Delete, Steps, Unusual } from "../ui/entities";
import { JsonPane } from "../ui/form/form";
import type { Json } from "../ui/form/schema";
import { ago, seconds } from "../ui/format";
import { Crumbs, Missing } from "../ui/page";
import { begin, Cancel, Change, isActive, RunState, runLink, Start } from "../ui/runs";
import { type Key, SortHead, sorted } from "../ui/sorting";
import "./procedure/procedure.css";

const LATEST = 20; // runs that the stream tells of

export default function ProcedurePage({ params: { id = "" } }: { params: Record<string, string> }) {
  const found = entity("procedure", id);
  if (!found) return <Missing kind="procedure" id={id} />;
  return (
    <>
      <Crumbs kind="procedure" />
      <header class="page-head">
        <h1>{id}</h1>
        <code class="soft">{found.type}</code>
        <Unusual entity={found} />
        <CompareTicked />
        {found.serving && <Start entity={found} />}
        <Change entity={found} />
        <Delete entity={found} after="/console/procedures" />
      </header>
      <div class="stack">
        {found.error && <p class="notice error">{found.error.error}</p>}
        <Runs entity={found} />
        {(found.runs?.length ?? 0) >= LATEST && <Earlier entity={found} />}
        {found.serving && <Otherwise id={id} />}
        <Configured kind="procedure" id={id} />
      </div>
    </>
  );
}

const duration = ({ started, finished }: Run) => (finished === undefined ? undefined : finished - started);

const RUN_KEYS: Key<Run>[] = [
  { head: "Started", by: ({ started }) => started },
  { head: "State", by: ({ state }) => state },
  { head: "Duration", by: duration },
];

function Runs({ entity }: { entity: Entity }) {
  const { id, runs = [] } = entity;
  if (!runs.length) return <p class="empty">It has not been run yet: Run begins one, and shows how far it is.</p>;
  const comparable = ({ state }: Run) => measures(entity) && state === "finished";
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <section class="card scroll-x" tabIndex={0} aria-label={`Runs of ${id}`}>
      {runs.some(comparable) && <CompareHint />}
      <table class="list entities runs">
        <thead>
          <tr>
            <SortHead head="Started" />
            <SortHead head="State" />
            <th>What it does or why it failed</th>
            <SortHead head="Duration" number />
            <th>
              <span class="visually-hidden">Action</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {sorted(runs, RUN_KEYS).map((run) => (
            <RunRow key={run.id} procedure={id} run={run} compared={comparable(run)} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** Runs before those that the stream tells of, by name. */
function Earlier({ entity: { id, runs = [] } }: { entity: Entity }) {
  const names = useSignal<string[]>([]);
  const latest = new Set(runs.map((run) => run.id));
  const earlier = names.value.filter((name) => !latest.has(name)).reverse();
  return (
    <details
      class="card"
      onToggle={(event) => {
        if (!event.currentTarget.open) return;
        attempt(async () => {
          names.value = await json<string[]>("GET", path("procedures", id, "runs"));
        });
      }}
    >
      <summary>Earlier runs</summary>
      <ul class="earlier">
        {earlier.map((name) => (
          <li key={name}>
            <a href={runLink(id, name)}>{name}</a>
          </li>
        ))}
        {names.value.length > 0 && !earlier.length && <li class="soft">None.</li>}
      </ul>
    </details>
  );
}

interface RunRowProps {
  procedure: string;
  run: Run;
  /** It can be compared with others. */
  compared: boolean;
}

function RunRow({ procedure, run, compared }: RunRowProps) {
  const took = duration(run);
  return (
    <tr>
      <td>
        {compared && <Tick procedure={procedure} run={run} />}
        <a href={runLink(procedure, run.id)} title={run.id}>
          {ago(run.started)}
        </a>
      </td>
      <td>
        <RunState state={run.state} />
      </td>
      <td class="run-steps">
        {run.error ? (
          <span class="small cut">{run.error.error}</span>
        ) : (
          isActive(run) && <Steps steps={run.progress?.steps ?? []} />
        )}
      </td>
      <td class="number">{took === undefined ? null : seconds(took)}</td>
      <td>
        <div class="row">{isActive(run) && <Cancel procedure={procedure} run={run} />}</div>
      </td>
    </tr>
  );
}

/** Parameters for one run, merged over those of the procedure. */
function Otherwise({ id }: { id: string }) {
  const params = useSignal<Json>({});
  const problem = useSignal("");
  const run = async (event: Event) => {
    event.preventDefault();
    problem.value = "";
    try {
      navigate(runLink(id, await begin(id, params.value)));
    } catch (error) {
      if (error instanceof ApiError && error.status) problem.value = error.message;
      else complain(error);
    }
  };
  return (
    <details class="card">
      <summary>Run with other parameters</summary>
      <form class="stack" onSubmit={run}>
        <p class="soft small">They are put over the parameters of the procedure for this run.</p>
        <JsonPane
          label="Parameters of the run"
          value={params.value}
          onChange={(next) => {
            params.value = next;
            return "";
          }}
        />
        {problem.value && (
          <p class="notice error" role="alert">
            {problem.value}
          </p>
        )}
        <div>
          <button type="submit">Run with these</button>
        </div>
      </form>
    </details>
  );
}
