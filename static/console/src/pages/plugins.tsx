// The plugins of the server, live: what state they are in, what can be done with them, and how new ones come.
import { useSignal } from "@preact/signals";
import { call, json, path } from "../api";
import { type Entity, entities, type Failure, loaded, type PluginReport } from "../live";
import { attempt, say } from "../toasts";
import { Confirm } from "../ui/dialog";
import { matching, Search } from "../ui/entities";
import { ago, bytes, count, seconds } from "../ui/format";
import { type Key, SortBy, sorted } from "../ui/sorting";
import { Install } from "./plugins/install";
import { Tour, tourWanted } from "./plugins/tour";
import "./plugins/plugins.css";

const KEYS: Key<Entity>[] = [
  { head: "Name", by: ({ id }) => id },
  { head: "State", by: ({ plugin, state }) => plugin?.state ?? state },
  { head: "Last reload", by: ({ plugin }) => plugin?.loaded && Date.parse(plugin.loaded) },
  { head: "Memory", by: ({ plugin }) => plugin?.memory },
  { head: "Requests", by: ({ plugin }) => plugin?.requests.total },
];

export default function Plugins() {
  const plugins = entities.plugin.value;
  const search = useSignal("");
  const touring = useSignal(tourWanted());
  const found = sorted(matching(plugins, search.value), KEYS);
  return (
    <>
      <header class="page-head">
        <h1>Plugins</h1>
        <Search of="plugins" among={plugins} search={search} />
        <button
          type="button"
          onClick={() => {
            touring.value = true;
          }}
        >
          Show me around
        </button>
      </header>
      {touring.value && (
        <Tour
          onClose={() => {
            touring.value = false;
          }}
        />
      )}
      <div class="stack">
        {loaded.value && !plugins.length && <p class="empty">No plugin yet. Install one below, or make a new one.</p>}
        {plugins.length > 1 && <SortBy keys={KEYS} />}
        {plugins.length > 0 && !found.length && <p class="empty">Nothing has this in its name or type.</p>}
        <ul class="cards">
          {found.map((plugin) => (
            <li key={plugin.id} class="card stack">
              <PluginCard entity={plugin} />
            </li>
          ))}
        </ul>
        <Install />
      </div>
    </>
  );
}

const BADGES = { serving: "good", restarting: "busy", "backing off": "warning", stopped: "", ended: "error" } as const;

function PluginCard({ entity }: { entity: Entity }) {
  const { id, state, plugin, error } = entity;
  const page = plugin?.page ? `${path("plugins", id)}/routes/${plugin.page}` : "";
  return (
    <>
      <div class="row plugin-head">
        <h2 class="grow name">{page ? <a href={page}>{id}</a> : id}</h2>
        <span class={`badge ${plugin ? BADGES[plugin.state] : state === "error" ? "error" : "busy"}`}>
          {plugin?.state ?? state}
        </span>
      </div>
      {plugin && <Facts id={id} report={plugin} />}
      {plugin?.lastFailure && <LastFailure failure={plugin.lastFailure} />}
      {plugin?.lastError && <LastFailure failure={plugin.lastError} />}
      {error && <LastFailure failure={failureOf(entity)} />}
      <Actions entity={entity} page={page} />
    </>
  );
}

function Facts({ id, report }: { id: string; report: PluginReport }) {
  const { generation, loaded: since, memory, memoryLimit, requests, source } = report;
  const facts: [string, string][] = [
    ["Generation", generation === undefined ? "–" : String(generation)],
    ["Last reload", since ? ago(since) : "–"],
    ["Memory", memory === undefined || memoryLimit === undefined ? "–" : `${bytes(memory)} of ${bytes(memoryLimit)}`],
    ["Requests/s", requests.perSecond < 10 ? requests.perSecond.toFixed(1) : count(Math.round(requests.perSecond))],
    ["p95", requests.p95 === undefined ? "–" : seconds(requests.p95)],
    [
      "Requests",
      requests.failed ? `${count(requests.total)}, ${count(requests.failed)} failed` : count(requests.total),
    ],
  ];
  return (
    <>
      <dl class="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <Source id={id} source={source} />
    </>
  );
}

function Source({
  id,
  source: { address, branch, commit, revision, message },
}: { id: string } & Pick<PluginReport, "source">) {
  const version = commit ?? revision;
  const elsewhere = address && !address.endsWith(`/plugins/${id}`) ? address : "";
  const shown = [elsewhere, branch, version?.slice(0, 10)].filter(Boolean).join(" ");
  return shown ? (
    <p class="soft small address" title={message}>
      {shown}
    </p>
  ) : null;
}

function failureOf({ error }: Entity): Failure {
  const details = (error?.details ?? {}) as {
    exception?: { type?: string; message?: string; scriptUri?: string; lineNumber?: number };
  };
  const { exception } = details;
  const message = exception ? `${exception.type}: ${exception.message}` : (error?.error ?? "");
  return { message, time: "", file: exception?.scriptUri, line: exception?.lineNumber };
}

function LastFailure({ failure: { message, time, file, line, request } }: { failure: Failure }) {
  return (
    <div class={`notice failure ${request ? "warning" : "error"}`}>
      {request && <div class="small mono">{request}</div>}
      <strong>{message}</strong>
      <div class="small">
        {file && (
          <code>
            {file}
            {line !== undefined && `, line ${line}`}
          </code>
        )}
        {file && time && ", "}
        {time && ago(time)}
      </div>
    </div>
  );
}

function Actions({ entity: { id, plugin, serving, state }, page }: { entity: Entity; page: string }) {
  const busy = useSignal(false);
  const asking = useSignal(false);
  const perform = async (done: string, work: () => Promise<unknown>) => {
    busy.value = true;
    await attempt(async () => {
      await work();
      say(done);
    });
    busy.value = false;
  };
  const stopped = plugin?.state === "stopped";
  const external = plugin?.generation === undefined;
  return (
    <div class="row actions">
      {page && (
        <a class="button primary" href={page}>
          Open
        </a>
      )}
      {serving && (
        <button
          type="button"
          disabled={busy.value}
          onClick={() =>
            perform(`${id} was loaded`, () => (external ? again(id) : call("POST", `${path("plugins", id)}/reload`)))
          }
        >
          {stopped ? "Start" : "Reload"}
        </button>
      )}
      {!serving && state === "error" && (
        <button type="button" disabled={busy.value} onClick={() => perform(`${id} was loaded`, () => again(id))}>
          Try again
        </button>
      )}
      {serving && !stopped && !external && (
        <button
          type="button"
          disabled={busy.value}
          onClick={() => perform(`${id} was stopped`, () => call("POST", `${path("plugins", id)}/stop`))}
        >
          Stop
        </button>
      )}
      <a class="button quiet" href={`/logs/mldb?source=${encodeURIComponent(id)}`}>
        Log
      </a>
      <button
        type="button"
        class="quiet danger"
        disabled={busy.value}
        onClick={() => {
          asking.value = true;
        }}
      >
        Delete
      </button>
      {asking.value && (
        <Confirm
          title={`Delete ${id}?`}
          text="The plugin stops. A folder of it in the data root is removed with its files; folders elsewhere stay."
          action="Delete"
          onConfirm={() => perform(`${id} was deleted`, () => remove(id))}
          onClose={() => {
            asking.value = false;
          }}
        />
      )}
    </div>
  );
}

/** Create a plugin once more, as it was asked for. */
async function again(id: string): Promise<void> {
  const { config } = await json<{ config: unknown }>("GET", path("plugins", id));
  await call("PUT", path("plugins", id), { json: config });
}

async function remove(id: string): Promise<void> {
  const folders = await json<string[]>("GET", path("plugin-folders"));
  await call("DELETE", path(folders.includes(id) ? "plugin-folders" : "plugins", id));
}
