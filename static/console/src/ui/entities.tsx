// Parts that the lists of entities share.
import { type Signal, useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { call, json, path } from "../api";
import type { Entity, Kind, Step } from "../live";
import { navigate } from "../router";
import { attempt, say } from "../toasts";
import { JsonBlock } from "./copy";
import { Confirm } from "./dialog";
import { type Key, SortHead, sorted } from "./sorting";

const BADGES = { ok: "good", initializing: "busy", executing: "busy", cancelled: "warning", error: "error" } as const;

export function State({ entity: { state } }: { entity: Entity }) {
  return <span class={`badge ${BADGES[state]}`}>{state}</span>;
}

/** The state in the head of a page, where it is worth a word. */
export function Unusual({ entity }: { entity: Entity }) {
  return entity.state === "ok" ? null : <State entity={entity} />;
}

const MANY = 5;

/** A field that narrows a list down, once it is long. */
export function Search({ of, among, search }: { of: string; among: unknown[]; search: Signal<string> }) {
  if (among.length <= MANY) return null;
  return (
    <input
      type="search"
      aria-label={`Search the ${of}`}
      placeholder={`Search the ${of}`}
      value={search.value}
      onInput={(event) => {
        search.value = event.currentTarget.value;
      }}
    />
  );
}

/** The entities whose name or type has the text. */
export function matching(all: Entity[], text: string): Entity[] {
  const wanted = text.trim().toLowerCase();
  return all.filter(({ id, type }) => `${id} ${type}`.toLowerCase().includes(wanted));
}

/** Steps that are under way or have a part done, as MLDB's procedures tell them. */
export function Steps({ steps }: { steps: Step[] }) {
  return (
    <>
      {steps.map(({ name, type, value, ended }) => (
        <div key={name} class="small">
          <span class={ended ? "soft" : ""}>
            {name}
            {type !== "percentile" && ` ${value}`}
          </span>
          {type === "percentile" && <progress aria-label={name} value={ended ? 1 : value} max={1} />}
        </div>
      ))}
    </>
  );
}

interface DeleteProps {
  entity: Entity;
  /** Where to go when it is gone, from a page of its own. */
  after?: string;
}

export function Delete({ entity: { kind, id }, after }: DeleteProps) {
  const asking = useSignal(false);
  return (
    <>
      <button
        type="button"
        class="quiet danger small"
        aria-label={`Delete ${id}`}
        onClick={() => {
          asking.value = true;
        }}
      >
        Delete
      </button>
      {asking.value && (
        <Confirm
          title={`Delete the ${kind} ${id}?`}
          text="What it holds goes with it."
          action="Delete"
          onConfirm={() =>
            attempt(async () => {
              await call("DELETE", path(`${kind}s`, id));
              say(`${id} was deleted`);
              if (after) navigate(after);
            })
          }
          onClose={() => {
            asking.value = false;
          }}
        />
      )}
    </>
  );
}

export interface Column extends Key<Entity> {
  cell: (entity: Entity) => ComponentChildren;
}

const STATE: Column = { head: "State", by: ({ state }) => state, cell: (entity) => <State entity={entity} /> };

interface EntityTableProps {
  entities: Entity[];
  /** The name of an entity as a link, when it has a page. */
  href?: (entity: Entity) => string;
  /** Further columns, of numbers. */
  columns?: Column[];
  /** In place of the state. */
  state?: Column;
  /** Beside the name. */
  mark?: (entity: Entity) => ComponentChildren;
  /** Buttons before that for deleting. */
  actions?: (entity: Entity) => ComponentChildren;
}

export function EntityTable({ entities, href, columns = [], state = STATE, mark, actions }: EntityTableProps) {
  if (!entities.length) return <p class="empty">Nothing has this in its name or type.</p>;
  const keys = [{ head: "Name", by: ({ id }: Entity) => id }, { head: "Type", by: ({ type }: Entity) => type }, state];
  return (
    <div class="card scroll-x">
      <table class="list entities">
        <thead>
          <tr>
            {keys.map(({ head }) => (
              <SortHead key={head} head={head} />
            ))}
            {columns.map(({ head }) => (
              <SortHead key={head} head={head} number />
            ))}
            <th>
              <span class="visually-hidden">Action</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {sorted(entities, [...keys, ...columns]).map((entity) => (
            <tr key={entity.id}>
              <td>
                <div class={mark && "marked"}>
                  {mark?.(entity)}
                  {href ? <a href={href(entity)}>{entity.id}</a> : entity.id}
                </div>
                {entity.error && <div class="small soft cut">{entity.error.error}</div>}
              </td>
              <td>
                <code>{entity.type}</code>
              </td>
              <td class={`state ${entity.state}`}>{state.cell(entity)}</td>
              {columns.map(({ head, cell }) => (
                <td key={head} class="number" data-head={head.toLowerCase()}>
                  {cell(entity)}
                </td>
              ))}
              <td>
                <div class="row">
                  {actions?.(entity)}
                  <Delete entity={entity} />
                </div>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The configuration that an entity was made with. */
export function Configured({ kind, id }: { kind: Kind; id: string }) {
  const config = useSignal<unknown>(undefined);
  useEffect(() => {
    attempt(async () => {
      config.value = (await json<{ config: unknown }>("GET", path(`${kind}s`, id))).config;
    });
  }, [kind, id, config]);
  return (
    <details class="card" open>
      <summary>Configuration</summary>
      <JsonBlock value={config.value} label="the configuration" />
    </details>
  );
}
