// The procedures of the server with their runs, live; a run can be cancelled.
import { useSignal } from "@preact/signals";
import { call, path } from "../api";
import { type Entity, entities, loaded, type Run } from "../live";
import { attempt, say } from "../toasts";
import { Delete, State, Steps } from "../ui/entities";
import { ago, seconds } from "../ui/format";

export default function Procedures() {
  const procedures = entities.procedure.value;
  return (
    <>
      <header class="page-head">
        <h1>Procedures</h1>
      </header>
      {loaded.value && !procedures.length && <p class="empty">No procedure yet.</p>}
      <div class="stack">
        {procedures.map((procedure) => (
          <section key={procedure.id} class="card stack" aria-label={procedure.id}>
            <Procedure entity={procedure} />
          </section>
        ))}
      </div>
    </>
  );
}

function Procedure({ entity }: { entity: Entity }) {
  const { id, type, runs = [] } = entity;
  return (
    <>
      <div class="row">
        <h2 class="grow">{id}</h2>
        <code class="soft">{type}</code>
        <State entity={entity} />
        {entity.serving && <Start id={id} />}
        <Delete entity={entity} />
      </div>
      {entity.error && <p class="notice error">{entity.error.error}</p>}
      {runs.length > 0 && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
        <section class="scroll-x" tabIndex={0} aria-label={`Runs of ${id}`}>
          <table class="list">
            <thead>
              <tr>
                <th>Run</th>
                <th>State</th>
                <th>Progress</th>
                <th>Time</th>
                <th>
                  <span class="visually-hidden">Action</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {runs.map((run) => (
                <RunRow key={run.id} procedure={id} run={run} />
              ))}
            </tbody>
          </table>
        </section>
      )}
    </>
  );
}

function Start({ id }: { id: string }) {
  return (
    <button
      type="button"
      class="small"
      onClick={() =>
        attempt(async () => {
          await call("POST", path("procedures", id, "runs"), { json: {}, headers: { async: "true" } });
          say(`a run of ${id} has begun`);
        })
      }
    >
      Run
    </button>
  );
}

const RUN_BADGES = {
  initializing: "busy",
  executing: "busy",
  finished: "good",
  cancelled: "warning",
  error: "error",
} as const;

function RunRow({ procedure, run }: { procedure: string; run: Run }) {
  const busy = useSignal(false);
  const active = run.state === "initializing" || run.state === "executing";
  const cancel = async () => {
    busy.value = true;
    await attempt(() =>
      call("PUT", `${path("procedures", procedure, "runs", run.id)}/state`, { json: { state: "cancelled" } }),
    );
    busy.value = false;
  };
  return (
    <tr>
      <td>
        <span class="small">{ago(run.started)}</span>
      </td>
      <td>
        <span class={`badge ${RUN_BADGES[run.state]}`}>{run.state}</span>
      </td>
      <td class="grow">
        {run.error ? <span class="small">{run.error.error}</span> : <Steps steps={run.progress?.steps ?? []} />}
      </td>
      <td>{run.finished === undefined ? "" : seconds(run.finished - run.started)}</td>
      <td>
        {active && (
          <button type="button" class="small" disabled={busy.value} onClick={cancel}>
            Cancel
          </button>
        )}
      </td>
    </tr>
  );
}
