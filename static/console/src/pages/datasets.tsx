// The datasets of the server, live, and the import of files.
import { useSignal } from "@preact/signals";
import { type Entity, entities, loaded } from "../live";
import { link } from "../router";
import { type Column, EntityTable, matching, Search } from "../ui/entities";
import { count } from "../ui/format";
import { ImportFile } from "./datasets/import";
import "./datasets/datasets.css";

const counted = (head: string, by: (entity: Entity) => number | undefined): Column => ({
  head,
  by,
  cell: (entity) => {
    const number = by(entity);
    return number === undefined ? null : count(number);
  },
});

const COLUMNS = [
  counted("Rows", ({ status }) => status?.rowCount),
  counted("Columns", ({ status }) => status?.columnCount),
];

export default function Datasets() {
  const search = useSignal("");
  const all = entities.dataset.value;
  return (
    <>
      <header class="page-head">
        <h1>Datasets</h1>
        <Search of="datasets" among={all} search={search} />
        <a class="button" href="/console/new/dataset">
          New dataset
        </a>
      </header>
      <div class="stack">
        <ImportFile />
        {loaded.value && !all.length && (
          <p class="empty">No dataset yet. Drop a file above, or let a procedure make one.</p>
        )}
        {all.length > 0 && (
          <EntityTable
            entities={matching(all, search.value)}
            href={({ id }) => link("/console/datasets/:id", { id })}
            columns={COLUMNS}
          />
        )}
      </div>
    </>
  );
}
