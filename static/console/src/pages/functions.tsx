// The functions of the server, live.
import { useSignal } from "@preact/signals";
import { entities, loaded } from "../live";
import { link } from "../router";
import { EntityTable, matching, Search } from "../ui/entities";

export default function Functions() {
  const search = useSignal("");
  const all = entities.function.value;
  return (
    <>
      <header class="page-head">
        <h1>Functions</h1>
        <Search of="functions" among={all} search={search} />
        <a class="button primary" href="/console/new/function">
          New function
        </a>
      </header>
      {loaded.value && !all.length && (
        <p class="empty">
          No function yet: procedures make them of what they trained, and SQL expressions can be functions.
        </p>
      )}
      {all.length > 0 && (
        <EntityTable entities={matching(all, search.value)} href={({ id }) => link("/console/functions/:id", { id })} />
      )}
    </>
  );
}
