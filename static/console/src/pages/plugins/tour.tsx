// The first visit: what the server is, in four steps; the last one makes a plugin of one's own.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { path } from "../../api";
import { entity } from "../../live";
import { attempt } from "../../toasts";
import { create } from "./install";
import { PluginName } from "./name";

const SEEN = "mldb.tour";

export function tourWanted(): boolean {
  return localStorage.getItem(SEEN) === null;
}

const STEPS = [
  {
    title: "Data, SQL, models and web apps in one server",
    text: "Datasets hold rows. Procedures train models from them. Functions apply what was trained. Plugins put pages and routes of your own on top. All of them have an address below /v1, and all of them are in the menu.",
  },
  {
    title: "Ask with SQL",
    text: "The query editor completes columns and functions, marks errors at their place, and draws plots of the result. Every query is a link that can be shared.",
  },
  {
    title: "Bring data",
    text: "Drop a CSV, Parquet or JSON file, or a zip of pictures, on the datasets page: you see a preview before anything is imported.",
  },
  {
    title: "Make a plugin of your own",
    text: "A plugin is a folder with a main.py, or a main.js. This one comes with a page, a route and a function; it lies in the data root below plugins, and every edit shows at once.",
  },
];

export function Tour({ onClose }: { onClose: () => void }) {
  const at = useSignal(0);
  const step = STEPS[at.value] as (typeof STEPS)[number];
  const last = at.value === STEPS.length - 1;
  const close = () => {
    localStorage.setItem(SEEN, "seen");
    onClose();
  };
  return (
    <section class="card tour" aria-label="Tour">
      <ol aria-hidden="true">
        {STEPS.map(({ title }, index) => (
          <li key={title} class={index <= at.value ? "done" : ""} />
        ))}
      </ol>
      <h2>{step.title}</h2>
      <p>{step.text}</p>
      {last && <OwnPlugin />}
      <div class="row">
        {at.value > 0 && (
          <button
            type="button"
            onClick={() => {
              at.value -= 1;
            }}
          >
            Back
          </button>
        )}
        {!last && (
          <button
            type="button"
            class="primary"
            onClick={() => {
              at.value += 1;
            }}
          >
            Next
          </button>
        )}
        <button type="button" class="quiet" onClick={close}>
          {last ? "Done" : "Skip the tour"}
        </button>
      </div>
    </section>
  );
}

function OwnPlugin() {
  const name = useSignal("my-plugin");
  const made = useSignal("");
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => input.current?.focus(), []); // the button that led here is gone
  const submit = (event: Event) => {
    event.preventDefault();
    attempt(async () => {
      await create(name.value);
      made.value = name.value;
    });
  };
  if (made.value) {
    const serving = entity("plugin", made.value)?.serving;
    return (
      <p class="notice" role="status">
        {serving ? (
          <>
            <strong>{made.value}</strong> is serving:{" "}
            <a href={`${path("plugins", made.value)}/routes/static/index.html`}>open its page</a>
          </>
        ) : (
          `${made.value} is starting …`
        )}
      </p>
    );
  }
  return (
    <form class="row" onSubmit={submit}>
      <PluginName label="Its name" name={name} grow input={input} />
      <button type="submit" class="primary">
        Make it
      </button>
    </form>
  );
}
