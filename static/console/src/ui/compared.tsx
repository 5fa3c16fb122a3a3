// Runs that are compared with each other: how an address names them, and the ticks in lists that choose them.
import { signal } from "@preact/signals";
import type { Entity, Run } from "../live";
import { count } from "./format";

const TYPES = new Set(["classifier.test", "classifier.experiment"]);

/** Whether runs of the procedure say how good a classifier is. */
export const measures = ({ type }: Entity) => TYPES.has(type);

export const finished = (entity: Entity): Run[] => (entity.runs ?? []).filter(({ state }) => state === "finished");

const escaped = (text: string) => text.replace(/[%/]/g, encodeURIComponent);
const plain = (text: string) => text.replace(/%(2F|25)/g, decodeURIComponent);

/** A run as the address of the comparison names it. */
export const runKey = (procedure: string, run: string) => `${escaped(procedure)}/${escaped(run)}`;

export function namesOf(key: string): { procedure: string; run: string } {
  const [procedure = "", run = ""] = key.split("/").map(plain);
  return { procedure, run };
}

export const compareLink = (keys: Iterable<string>) =>
  `/console/compare?${new URLSearchParams([...keys].map((key) => ["run", key]))}`;

/** They stay ticked from page to page. */
const ticked = signal<ReadonlySet<string>>(new Set());

export function Tick({ procedure, run }: { procedure: string; run: Run }) {
  const key = runKey(procedure, run.id);
  return (
    <input
      type="checkbox"
      class="tick"
      aria-label={`Compare ${procedure}, run of ${moment(run.started)}`}
      title="Compare with other runs"
      checked={ticked.value.has(key)}
      onChange={({ currentTarget }) => {
        const next = new Set(ticked.value);
        if (currentTarget.checked) next.add(key);
        else next.delete(key);
        ticked.value = next;
      }}
    />
  );
}

export function CompareHint() {
  return <p class="soft small">Tick runs to compare their measures and curves side by side.</p>;
}

/** Leads to the comparison, once something is ticked. */
export function CompareTicked() {
  const chosen = ticked.value;
  if (!chosen.size) return null;
  return (
    <span class="row">
      <a class="button" href={compareLink(chosen)}>
        {chosen.size === 1 ? "Compare 1 run" : `Compare ${count(chosen.size)} runs`}
      </a>
      <button
        type="button"
        class="quiet small"
        onClick={() => {
          ticked.value = new Set();
        }}
      >
        Untick
      </button>
    </span>
  );
}

/** A time of the server with its seconds, which tell runs of a procedure apart. */
export const moment = (time: number) =>
  new Date(time * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
