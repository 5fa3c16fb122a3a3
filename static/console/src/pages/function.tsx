// One function: what it takes and gives, and trying it on values, on a row of a dataset, on a picture.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { entity } from "../live";
import { location, setQuery } from "../router";
import { attempt } from "../toasts";
import { Configured, Delete, Steps, Unusual } from "../ui/entities";
import { Crumbs, Missing } from "../ui/page";
import { type FunctionInfo, functionInfo, leaves, mayTakePicture, pictureInput } from "./function/info";
import { TryPicture } from "./function/picture";
import { TryRow } from "./function/row";
import { TryValues } from "./function/values";
import { Importance } from "./run/importance";
import "./function/function.css";

export default function FunctionPage({ params: { id = "" } }: { params: Record<string, string> }) {
  const found = entity("function", id);
  if (!found) return <Missing kind="function" id={id} />;
  return (
    <>
      <Crumbs kind="function" />
      <header class="page-head">
        <h1>{id}</h1>
        <code class="soft">{found.type}</code>
        <Unusual entity={found} />
        <a class="button" href={`/console/new/function?${new URLSearchParams({ from: id, type: found.type })}`}>
          Change
        </a>
        <Delete entity={found} after="/console/functions" />
      </header>
      <div class="stack">
        {found.error && <p class="notice error">{found.error.error}</p>}
        {!found.serving && found.progress?.steps && <Steps steps={found.progress.steps} />}
        {found.serving && <Serving id={id} />}
        {found.serving && found.type === "classifier" && <Importance functionName={id} />}
        <Configured kind="function" id={id} />
      </div>
    </>
  );
}

const WAYS = ["values", "row", "picture"] as const;
const TITLES = { values: "On values", row: "On a row of a dataset", picture: "On a picture" };

function Serving({ id }: { id: string }) {
  const info = useSignal<FunctionInfo | undefined>(undefined);
  useEffect(() => {
    attempt(async () => {
      info.value = await functionInfo(id);
    });
  }, [id, info]);
  if (!info.value) return <progress aria-label="Loading the function" />;
  const [input] = info.value.input;
  const picture = pictureInput(input);
  const asked = location.value.searchParams.get("try");
  const ways = WAYS.filter((each) => each !== "picture" || mayTakePicture(input));
  const way = ways.find((each) => each === asked) ?? (picture ? "picture" : "values");
  return (
    <>
      <Shape info={info.value} />
      <section class="card stack" aria-labelledby="try-title">
        <h2 id="try-title">Try it</h2>
        <div class="row tabs" role="tablist" aria-label="What to try it on">
          {ways.map((each) => (
            <button
              key={each}
              type="button"
              role="tab"
              class="small"
              aria-selected={way === each}
              onClick={() => setQuery({ try: each })}
            >
              {TITLES[each]}
            </button>
          ))}
        </div>
        {way === "values" && <TryValues id={id} input={input} />}
        {way === "row" && <TryRow id={id} input={input} />}
        {way === "picture" && <TryPicture id={id} input={input} suggested={picture} />}
      </section>
    </>
  );
}

const SHOWN = 40;

function Shape({ info: { input, output } }: { info: FunctionInfo }) {
  return (
    <section class="card shape" aria-label="Inputs and outputs">
      <Side title="Input" rows={leaves(input[0])} open={input[0]?.hasUnknownColumns === true} />
      <Side title="Output" rows={leaves(output)} open={output.hasUnknownColumns === true} />
    </section>
  );
}

function Side({ title, rows, open }: { title: string; rows: [string, string][]; open: boolean }) {
  return (
    <div>
      <h2>{title}</h2>
      <ul class="shape-list">
        {rows.slice(0, SHOWN).map(([name, kind]) => (
          <li key={name}>
            <code>{name}</code> <span class="soft small">{kind}</span>
          </li>
        ))}
        {rows.length > SHOWN && <li class="soft small">and {rows.length - SHOWN} more</li>}
        {!rows.length && <li class="soft small">{open ? "any columns" : "nothing"}</li>}
      </ul>
    </div>
  );
}
