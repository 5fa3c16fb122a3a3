// The datasets of the server, live, and the import of files.
import { useSignal } from "@preact/signals";
import { entities, loaded } from "../live";
import { link } from "../router";
import { EntityTable } from "../ui/entities";
import { count } from "../ui/format";
import { ImportFile } from "./datasets/import";
import "./datasets/datasets.css";

export default function Datasets() {
  const search = useSignal("");
  const all = entities.dataset.value;
  const found = all.filter(({ id }) => id.toLowerCase().includes(search.value.toLowerCase()));
  return (
    <>
      <header class="page-head">
        <h1>Datasets</h1>
        {all.length > 5 && (
          <input
            type="search"
            aria-label="Search the datasets"
            placeholder="Search"
            value={search.value}
            onInput={(event) => {
              search.value = event.currentTarget.value;
            }}
          />
        )}
      </header>
      <div class="stack">
        <ImportFile />
        {loaded.value && !all.length ? (
          <p class="empty">No dataset yet. Drop a file above, or let a procedure make one.</p>
        ) : (
          <EntityTable
            entities={found}
            href={({ id }) => link("/console/datasets/:id", { id })}
            heads={["Rows", "Columns"]}
            cells={({ status }) =>
              [status?.rowCount, status?.columnCount].map((n) => (n === undefined ? null : count(n)))
            }
          />
        )}
      </div>
    </>
  );
}
