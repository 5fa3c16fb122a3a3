// Which features a classifier goes by.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { json, path } from "../../api";
import { entity } from "../../live";
import { link } from "../../router";
import { complain } from "../../toasts";
import { Bars } from "../../ui/result";

interface Found {
  /** How it was measured; some kinds of models do not tell. */
  measure: string | null;
  features: [string, number][];
}

export function Importance({ functionName }: { functionName: string }) {
  const found = useSignal<Found | undefined>(undefined);
  const there = entity("function", functionName)?.serving === true;
  useEffect(() => {
    if (!there) return;
    json<Found>("GET", `${path("functions", functionName)}/routes/importance`).then((answer) => {
      found.value = answer;
    }, complain);
  }, [functionName, found, there]);
  if (!found.value?.features.length) return null;
  return (
    <section class="card stack" aria-labelledby="importance-title">
      <h2 id="importance-title">
        Feature importance of <a href={link("/console/functions/:id", { id: functionName })}>{functionName}</a>
      </h2>
      <Bars values={found.value.features} />
      <p class="small soft">{found.value.measure}</p>
    </section>
  );
}
