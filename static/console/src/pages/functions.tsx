// The functions of the server, live.
import { entities, loaded } from "../live";
import { link } from "../router";
import { EntityTable } from "../ui/entities";

export default function Functions() {
  return (
    <>
      <header class="page-head">
        <h1>Functions</h1>
        <a class="button primary" href="/console/new/function">
          New function
        </a>
      </header>
      {loaded.value && !entities.function.value.length ? (
        <p class="empty">
          No function yet: procedures make them of what they trained, and SQL expressions can be functions.
        </p>
      ) : (
        <EntityTable entities={entities.function.value} href={({ id }) => link("/console/functions/:id", { id })} />
      )}
    </>
  );
}
