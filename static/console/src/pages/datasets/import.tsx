// From a file to a dataset: upload with progress, a preview, then the procedures that the server proposes, one by one.
import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ApiError, call, json, path, upload } from "../../api";
import { type Entity, entity } from "../../live";
import { link, navigate } from "../../router";
import { attempt, complain, say } from "../../toasts";
import { DropFile } from "../../ui/drop";
import { Steps } from "../../ui/entities";
import { bytes, count } from "../../ui/format";

interface Step {
  type: string;
  params: Record<string, unknown>;
}

interface Preview {
  kind: string;
  columns: string[];
  rows: unknown[][];
  total?: number;
  steps: Step[];
}

type State =
  | { at: "nothing" }
  | { at: "uploading"; name: string; sent: number; size: number; stop: AbortController }
  | { at: "preview"; name: string; dataset: string; preview: Preview }
  | { at: "importing"; name: string; dataset: string; procedure: string };

const ENDINGS = ".csv,.tsv,.txt,.json,.jsonl,.ndjson,.parquet,.xlsx,.zip";
// Procedure types that read line by line, and may leave out what is no row.
const LINES = ["import.text", "import.json"];
const LARGEST_ARRAY = 64 << 20;

export function ImportFile() {
  const state = useSignal<State>({ at: "nothing" });
  const limit = useSignal(Number.POSITIVE_INFINITY);
  const current = state.value;
  useEffect(() => {
    attempt(async () => {
      limit.value = await largest();
    });
  }, [limit]);
  const most = Number.isFinite(limit.value) ? `, of up to ${bytes(limit.value)}` : "";
  return (
    <section class="card stack" aria-labelledby="import-title">
      <h2 id="import-title">Import a file</h2>
      {current.at === "nothing" && (
        <DropFile
          label="Data file"
          text={`Drop a CSV, JSON, Parquet or Excel file, or a zip of pictures${most}`}
          accept={ENDINGS}
          onFile={(file) => begin(file, limit.value, state)}
        />
      )}
      {current.at === "uploading" && (
        <div class="stack" role="status">
          <div>
            {current.name}: {bytes(current.sent)} of {bytes(current.size)}
            <progress aria-label="Upload" value={current.sent} max={current.size} />
          </div>
          <div>
            <button type="button" onClick={() => current.stop.abort()}>
              Cancel
            </button>
          </div>
        </div>
      )}
      {current.at === "preview" && <ShowPreview current={current} state={state} />}
      {current.at === "importing" && (
        <Importing dataset={current.dataset} procedure={entity("procedure", current.procedure)} />
      )}
    </section>
  );
}

/** The size of the largest file that the server takes, in bytes. */
async function largest(): Promise<number> {
  const answer = await call("GET", path("uploads"));
  const [, size] = /max-size=(\d+)/.exec(answer.headers.get("upload-limit") ?? "") ?? [];
  return size === undefined ? Number.POSITIVE_INFINITY : Number(size);
}

async function begin(file: File, limit: number, state: Signal<State>): Promise<void> {
  if (file.size > limit) {
    const error = `${file.name} has ${bytes(file.size)}; the setting upload-size allows ${bytes(limit)}`;
    complain(new ApiError(413, { error, httpCode: 413 }, "before it was sent"));
    return;
  }
  const stop = new AbortController();
  const dataset = file.name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}_-]+/gu, "_") || "data";
  state.value = { at: "uploading", name: file.name, sent: 0, size: file.size, stop };
  try {
    const content = await asLines(file);
    const progress = (sent: number) => {
      state.value = { at: "uploading", name: file.name, sent, size: content.size, stop };
    };
    await upload("PUT", path("uploads", file.name), content, progress, stop.signal);
    const preview = await propose(file.name, dataset);
    state.value = { at: "preview", name: file.name, dataset, preview };
  } catch (error) {
    complain(error);
    state.value = { at: "nothing" };
  }
}

function propose(name: string, dataset: string): Promise<Preview> {
  return json<Preview>("GET", `${path("uploads", name)}/preview`, { query: { dataset } });
}

/** A JSON array as an object a line, which is what the server imports; every other file as it is. */
async function asLines(file: File): Promise<Blob> {
  const head = (await file.slice(0, 64).text()).trimStart();
  if (!head.startsWith("[") || file.size > LARGEST_ARRAY) return file;
  const items: unknown = JSON.parse(await file.text());
  if (!Array.isArray(items)) return file;
  return new Blob(items.map((item) => `${JSON.stringify(item)}\n`));
}

function ShowPreview({ current, state }: { current: Extract<State, { at: "preview" }>; state: Signal<State> }) {
  const { name, preview } = current;
  const dataset = useSignal(current.dataset);
  const lenient = useSignal(false);
  const taken = entity("dataset", dataset.value) !== undefined;
  const stop = () => {
    call("DELETE", path("uploads", name)).catch(complain);
    state.value = { at: "nothing" };
  };
  const submit = (event: Event) => {
    event.preventDefault();
    run(name, dataset.value, lenient.value, state);
  };
  return (
    <form class="stack" onSubmit={submit}>
      <p>
        <strong>{name}</strong> <span class="soft">{preview.kind}</span>
        {preview.total !== undefined && <span class="soft">, {count(preview.total)} rows</span>}
      </p>
      {preview.columns.length > 0 && <FirstRows preview={preview} />}
      <div class="row">
        <label class="field grow">
          Name of the dataset
          <input
            required
            value={dataset.value}
            onInput={(event) => {
              dataset.value = event.currentTarget.value;
            }}
          />
        </label>
        <button type="submit" class="primary">
          Import
        </button>
        <button type="button" onClick={stop}>
          Discard
        </button>
      </div>
      {preview.steps.some((step) => LINES.includes(step.type)) && (
        <label class="row">
          <input
            type="checkbox"
            checked={lenient.value}
            onInput={(event) => {
              lenient.value = event.currentTarget.checked;
            }}
          />
          Leave out lines that cannot be read
        </label>
      )}
      {taken && <p class="notice warning">The dataset {dataset.value} is there already; it will be replaced.</p>}
    </form>
  );
}

function FirstRows({ preview }: { preview: Preview }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <section class="scroll-x preview" tabIndex={0} aria-label="First rows">
      <table class="list">
        <thead>
          <tr>
            {preview.columns.map((column) => (
              <th key={column}>{column}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {preview.rows.map((row, index) => (
            <tr key={index}>
              {preview.columns.map((column, at) => (
                <td key={column}>{row[at] === null ? <span class="soft">null</span> : String(row[at])}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** The procedures, each with a run that is followed; the uploaded file goes when all of them have ended. */
async function run(name: string, dataset: string, lenient: boolean, state: Signal<State>): Promise<void> {
  try {
    const { steps } = await propose(name, dataset);
    for (const step of steps) {
      const procedure = `import ${dataset} ${step.type}`;
      state.value = { at: "importing", name, dataset, procedure };
      const chosen = lenient && LINES.includes(step.type) ? { ignoreBadLines: true } : {};
      await call("PUT", path("procedures", procedure), {
        json: { ...step, persistent: false, params: { ...step.params, ...chosen, runOnCreation: true } },
      });
      await call("DELETE", path("procedures", procedure));
    }
    await call("DELETE", path("uploads", name));
    say(`${dataset} was imported`);
    navigate(link("/console/datasets/:id", { id: dataset }));
  } catch (error) {
    complain(error);
    const preview = await propose(name, dataset).catch(() => undefined);
    state.value = preview ? { at: "preview", name, dataset, preview } : { at: "nothing" };
  }
}

function Importing({ dataset, procedure }: { dataset: string; procedure: Entity | undefined }) {
  const run = procedure?.runs?.[0];
  const steps = run?.progress?.steps ?? [];
  const cancel = () => {
    if (!procedure || !run) return;
    call("PUT", `${path("procedures", procedure.id, "runs", run.id)}/state`, { json: { state: "cancelled" } }).catch(
      complain,
    );
  };
  return (
    <div class="stack" role="status">
      <p>Importing {dataset} …</p>
      {steps.length ? <Steps steps={steps} /> : <progress aria-label="Import" />}
      {run && (
        <div>
          <button type="button" onClick={cancel}>
            Cancel
          </button>
        </div>
      )}
    </div>
  );
}
