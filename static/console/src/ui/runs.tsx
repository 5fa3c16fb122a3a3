// Runs of procedures: their state, how to begin and cancel one.
import { useSignal } from "@preact/signals";
import { call, json, path } from "../api";
import type { Entity, Run } from "../live";
import { link, navigate } from "../router";
import { attempt } from "../toasts";
import { isObject, type Json } from "./form/schema";

const BADGES = {
  initializing: "busy",
  executing: "busy",
  finished: "good",
  cancelled: "warning",
  error: "error",
} as const;

export const isActive = ({ state }: Run) => state === "initializing" || state === "executing";

export const runLink = (procedure: string, run: string) =>
  link("/console/procedures/:id/runs/:run", { id: procedure, run });

export function RunState({ state }: { state: Run["state"] }) {
  return <span class={`badge ${BADGES[state]}`}>{state}</span>;
}

/** Parameters as the server puts those of a run over those of its procedure: objects merge, the rest replaces. */
export const withRun = (params: Json = {}, over: Json = {}) => merged(params, over) as Json;

function merged(base: unknown, over: unknown): unknown {
  if (!isObject(base) || !isObject(over)) return over;
  const inner = Object.entries(over).map(([name, value]) => [name, name in base ? merged(base[name], value) : value]);
  return { ...base, ...Object.fromEntries(inner) };
}

/** Begin a run that goes on by itself; its id. */
export async function begin(procedure: string, params?: Record<string, unknown>): Promise<string> {
  const { id } = await json<{ id: string }>("POST", path("procedures", procedure, "runs"), {
    json: params ? { params } : {},
    headers: { async: "true" },
  });
  return id;
}

/** To the form of the procedure, filled in with what it is. */
export function Change({ entity: { id, type }, small = false }: { entity: Entity; small?: boolean }) {
  return (
    <a
      class={small ? "button small" : "button"}
      href={`/console/new/procedure?${new URLSearchParams({ from: id, type })}`}
    >
      Change
    </a>
  );
}

interface StartProps {
  entity: Entity;
  label?: string;
  /** One among others. */
  small?: boolean;
}

export function Start({ entity: { id }, label = "Run", small = false }: StartProps) {
  const busy = useSignal(false);
  const start = async () => {
    busy.value = true;
    const run = await attempt(() => begin(id));
    busy.value = false;
    if (run) navigate(runLink(id, run));
  };
  return (
    <button
      type="button"
      class={small ? "small" : "primary"}
      disabled={busy.value}
      aria-label={`${label} ${id}`}
      onClick={start}
    >
      {label}
    </button>
  );
}

/** Stops the work, not only the display: the answer comes when it has stopped. */
export function Cancel({ procedure, run }: { procedure: string; run: Run }) {
  const busy = useSignal(false);
  const cancel = async () => {
    busy.value = true;
    await attempt(() =>
      call("PUT", `${path("procedures", procedure, "runs", run.id)}/state`, { json: { state: "cancelled" } }),
    );
    busy.value = false;
  };
  return (
    <button type="button" class="small" disabled={busy.value} onClick={cancel}>
      {busy.value ? "Cancelling" : "Cancel"}
    </button>
  );
}
