// The plugins of the server, live.
import { type Entity, entities, loaded } from "../live";
import { ago, bytes, count, seconds } from "../ui/format";

export default function Plugins() {
  return (
    <>
      <header class="page-head">
        <h1>Plugins</h1>
      </header>
      {loaded.value && !entities.plugin.value.length && <p class="empty">No plugin yet.</p>}
      <ul class="cards">
        {entities.plugin.value.map((plugin) => (
          <li key={plugin.id} class="card stack">
            <PluginCard plugin={plugin} />
          </li>
        ))}
      </ul>
    </>
  );
}

const BADGES = { serving: "good", restarting: "busy", "backing off": "warning", stopped: "" } as const;

function PluginCard({ plugin: { id, state, plugin, error } }: { plugin: Entity }) {
  return (
    <>
      <div class="row">
        <h2 class="grow">
          <a href={`/v1/plugins/${encodeURIComponent(id)}/routes/static/index.html`}>{id}</a>
        </h2>
        <span class={`badge ${plugin ? BADGES[plugin.state] : state === "error" ? "error" : "busy"}`}>
          {plugin?.state ?? state}
        </span>
      </div>
      {plugin && (
        <dl class="facts">
          <div>
            <dt>Generation</dt>
            <dd>{plugin.generation}</dd>
          </div>
          <div>
            <dt>Loaded</dt>
            <dd>{plugin.loaded ? ago(plugin.loaded) : "never"}</dd>
          </div>
          <div>
            <dt>Memory</dt>
            <dd>{bytes(plugin.memory)}</dd>
          </div>
          <div>
            <dt>Requests/s</dt>
            <dd>{count(plugin.requests.perSecond)}</dd>
          </div>
          <div>
            <dt>p95</dt>
            <dd>{plugin.requests.p95 === undefined ? "–" : seconds(plugin.requests.p95)}</dd>
          </div>
        </dl>
      )}
      {error && <p class="notice error">{error.error}</p>}
    </>
  );
}
