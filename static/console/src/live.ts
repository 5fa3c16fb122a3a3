// The live state: one stream of the server's events, kept as one signal per kind of entity.
import { computed, signal } from "@preact/signals";
import type { ErrorBody } from "./api";

export type Kind = "plugin" | "dataset" | "function" | "procedure";

export interface Step {
  name: string;
  type: string;
  value: number;
  started?: string;
  ended?: string;
}

export interface Failure {
  message: string;
  time: string;
  file?: string;
  line?: number;
  /** Verb and path below the plugin's routes, where a request failed. */
  request?: string;
}

/**
 * How a plugin is served; `memory` in bytes, `p95` in seconds, `perSecond` over ten seconds. A plugin that is a server
 * of its own has no generations, and its memory is not known.
 */
export interface PluginReport {
  generation?: number;
  restarts?: number;
  state: "serving" | "restarting" | "backing off" | "stopped" | "ended";
  requests: { total: number; failed: number; perSecond: number; p95?: number };
  memory?: number;
  memoryLimit?: number;
  loaded?: string;
  lastFailure?: Failure;
  /** The last request that failed since the plugin was loaded. */
  lastError?: Failure;
  nextAttempt?: string;
  /** Its page below `/routes/`, when a static folder has an index. */
  page?: string;
  /** `revision` is that of a tree, as in MLDB; `commit` that of a folder which is a repository. */
  source: { address?: string; branch?: string; revision?: string; commit?: string; message?: string };
}

export interface Run {
  id: string;
  state: "initializing" | "executing" | "finished" | "cancelled" | "error";
  started: number;
  finished?: number;
  progress?: { steps?: Step[] };
  error?: ErrorBody;
  /** Parameters of this run, over those of the procedure. */
  params?: Record<string, unknown>;
}

export interface Entity {
  kind: Kind;
  id: string;
  type: string;
  state: "ok" | "initializing" | "executing" | "cancelled" | "error";
  serving: boolean;
  persistent: boolean;
  progress?: { steps?: Step[] };
  error?: ErrorBody;
  plugin?: PluginReport;
  status?: { rowCount?: number; columnCount?: number; valueCount?: number };
  runs?: Run[];
}

interface Change {
  changed: Entity[];
  gone: [Kind, string][];
}

export type Connection = "connecting" | "live" | "lost";
export const connection = signal<Connection>("connecting");

const collections = {
  plugin: signal<ReadonlyMap<string, Entity>>(new Map()),
  dataset: signal<ReadonlyMap<string, Entity>>(new Map()),
  function: signal<ReadonlyMap<string, Entity>>(new Map()),
  procedure: signal<ReadonlyMap<string, Entity>>(new Map()),
};

/** False until the first event: an empty list may then be called empty. */
export const loaded = signal(false);

const UNNAMED = /^auto_[0-9a-f]{16}_[0-9a-f]{16}$/; // what the server calls an entity that was given no name

const lastRun = ({ runs }: Entity) => runs?.[0]?.started ?? 0;

function order(a: Entity, b: Entity): number {
  const unnamed = UNNAMED.test(a.id);
  const first = Number(unnamed) - Number(UNNAMED.test(b.id));
  return first || (unnamed && lastRun(b) - lastRun(a)) || a.id.localeCompare(b.id);
}

const sorted = (kind: Kind) => computed(() => [...collections[kind].value.values()].sort(order));

/**
 * The entities of each kind in order of their ids; last those without a name of their own, latest run first. Read
 * `.value` in a component to follow them.
 */
export const entities = {
  plugin: sorted("plugin"),
  dataset: sorted("dataset"),
  function: sorted("function"),
  procedure: sorted("procedure"),
};

/** One entity as the stream last told of it. */
export function entity(kind: Kind, id: string): Entity | undefined {
  return collections[kind].value.get(id);
}

function apply({ changed, gone }: Change, all: boolean): void {
  const next = new Map<Kind, Map<string, Entity>>();
  const of = (kind: Kind) => {
    const known = next.get(kind) ?? new Map(all ? [] : collections[kind].value);
    next.set(kind, known);
    return known;
  };
  if (all) for (const kind of Object.keys(collections) as Kind[]) of(kind);
  for (const each of changed) if (each.kind in collections) of(each.kind).set(each.id, each);
  for (const [kind, id] of gone) if (kind in collections) of(kind).delete(id);
  for (const [kind, map] of next) collections[kind].value = map;
  loaded.value = true;
}

let source: EventSource | undefined;

function open(): void {
  if (source || document.hidden) return;
  source = new EventSource("/v1/events");
  source.addEventListener("open", () => {
    connection.value = "live";
  });
  source.addEventListener("error", () => {
    connection.value = "lost";
    // A refusal (an error status) closes the stream for good; a server that restarts answers later.
    if (source?.readyState === EventSource.CLOSED) {
      source = undefined;
      setTimeout(open, 3000);
    }
  });
  source.addEventListener("all", (event) => apply(JSON.parse(event.data), true));
  source.addEventListener("change", (event) => apply(JSON.parse(event.data), false));
}

/** Follow the server. A tab that nobody sees gives its connection back: browsers have six for a server. */
export function follow(): void {
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
      source = undefined;
      connection.value = "connecting";
    } else {
      open();
    }
  });
  open();
}
