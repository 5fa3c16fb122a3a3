// Which features a classifier goes by.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ApiError, json, path } from "../../api";
import { link } from "../../router";
import { complain } from "../../toasts";
import { Bars } from "../../ui/result";

interface Found {
  /** How it was measured. */
  measure: string;
  features: [string, number][];
}

export function Importance({ functionName }: { functionName: string }) {
  const found = useSignal<Found | undefined>(undefined);
  useEffect(() => {
    json<Found>("GET", `${path("functions", functionName)}/routes/importance`).then(
      (answer) => {
        found.value = answer;
      },
      (error) => {
        // Some kinds of models do not tell; a function may be gone.
        if (!(error instanceof ApiError && error.status < 500)) complain(error);
      },
    );
  }, [functionName, found]);
  if (!found.value?.features.length) return null;
  return (
    <section class="card stack" aria-labelledby="importance-title">
      <h2 id="importance-title">
        What <a href={link("/console/functions/:id", { id: functionName })}>{functionName}</a> goes by
      </h2>
      <Bars values={found.value.features} />
      <p class="small soft">{found.value.measure}</p>
    </section>
  );
}
