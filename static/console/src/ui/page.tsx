// What pages of one entity share: the way back, and what is said when there is nothing to show yet or any more.
import type { Kind } from "../live";
import { loaded } from "../live";
import { link } from "../router";

const LISTS = {
  plugin: "/",
  dataset: "/console/datasets",
  function: "/console/functions",
  procedure: "/console/procedures",
};

interface CrumbsProps {
  kind: Kind;
  /** The procedure, on the page of one of its runs. */
  procedure?: string;
}

export function Crumbs({ kind, procedure }: CrumbsProps) {
  return (
    <nav class="crumbs small" aria-label="Where this is">
      <a href={LISTS[kind]}>{`${kind[0]?.toUpperCase()}${kind.slice(1)}s`}</a>
      {procedure !== undefined && (
        <>
          <span aria-hidden="true">/</span>
          <a href={link("/console/procedures/:id", { id: procedure })}>{procedure}</a>
        </>
      )}
    </nav>
  );
}

/** In place of an entity that the stream does not tell of. */
export function Missing({ kind, id }: { kind: Kind; id: string }) {
  if (!loaded.value) return <Loading />;
  return (
    <div class="empty">
      <h1>
        There is no {kind} <q>{id}</q>
      </h1>
      <p>
        It may have been deleted. <a href={LISTS[kind]}>To the {kind}s</a>
      </p>
    </div>
  );
}

/** Shows after a moment only: what is there at once should not flicker. */
export function Loading() {
  return (
    <p class="loading soft" role="status">
      Loading …
    </p>
  );
}
