// The datasets of the server, live.
import { entities, loaded } from "../live";
import { link } from "../router";
import { EntityTable } from "../ui/entities";
import { count } from "../ui/format";

export default function Datasets() {
  return (
    <>
      <header class="page-head">
        <h1>Datasets</h1>
      </header>
      {loaded.value && !entities.dataset.value.length ? (
        <p class="empty">No dataset yet.</p>
      ) : (
        <EntityTable
          entities={entities.dataset.value}
          href={({ id }) => link("/v1/datasets/:id", { id })}
          heads={["Rows", "Columns"]}
          cells={({ status }) => [status?.rowCount, status?.columnCount].map((n) => (n === undefined ? "–" : count(n)))}
        />
      )}
    </>
  );
}
