// The procedures of the server, each with its last run, live.
import { useSignal } from "@preact/signals";
import { type Entity, entities, loaded } from "../live";
import { link } from "../router";
import { CompareHint, CompareTicked, finished, measures, Tick } from "../ui/compared";
import { type Column, EntityTable, matching, Search, Steps, Unusual } from "../ui/entities";
import { ago } from "../ui/format";
import { Cancel, isActive, RunState, runLink, Start } from "../ui/runs";
import "./procedure/procedure.css";

export default function Procedures() {
  const search = useSignal("");
  const all = entities.procedure.value;
  return (
    <>
      <header class="page-head">
        <h1>Procedures</h1>
        <Search of="procedures" among={all} search={search} />
        <CompareTicked />
        <a class="button primary" href="/console/new/procedure">
          New procedure
        </a>
      </header>
      {loaded.value && !all.length && (
        <p class="empty">
          No procedure yet. They import and export data, train models and measure them:{" "}
          <a href="/doc/models.md">from a CSV to a model in use</a>.
        </p>
      )}
      {all.length > 0 && (
        <div class="stack">
          {all.some(lastMeasured) && <CompareHint />}
          <EntityTable
            entities={matching(all, search.value)}
            href={({ id }) => link("/console/procedures/:id", { id })}
            state={LAST_RUN}
            mark={all.some(lastMeasured) ? (entity) => <TickLast entity={entity} /> : undefined}
            actions={(entity) => <Action entity={entity} />}
          />
        </div>
      )}
    </>
  );
}

const LAST_RUN: Column = {
  head: "Last run",
  by: ({ runs }) => runs?.[0]?.started,
  cell: (entity) => <LastRun entity={entity} />,
};

const lastMeasured = (entity: Entity) => (measures(entity) ? finished(entity)[0] : undefined);

/** Chooses the last run with measures for a comparison; names without one stand below the others. */
function TickLast({ entity }: { entity: Entity }) {
  const last = lastMeasured(entity);
  return last ? <Tick procedure={entity.id} run={last} /> : <span class="tick none" />;
}

function LastRun({ entity }: { entity: Entity }) {
  const { id, runs = [], error } = entity;
  const [last] = runs;
  if (!last)
    return error || entity.state !== "ok" ? <Unusual entity={entity} /> : <span class="soft small">never</span>;
  return (
    <div class="last-run">
      <a href={runLink(id, last.id)} aria-label={`Last run of ${id}: ${last.state}`}>
        <RunState state={last.state} />
      </a>{" "}
      <span class="soft small">{ago(last.started)}</span>
      {isActive(last) && <Steps steps={last.progress?.steps ?? []} />}
      {last.error && <div class="small soft cut">{last.error.error}</div>}
    </div>
  );
}

function Action({ entity }: { entity: Entity }) {
  const last = entity.runs?.[0];
  if (last && isActive(last)) return <Cancel procedure={entity.id} run={last} />;
  return entity.serving ? <Start entity={entity} small /> : null;
}
