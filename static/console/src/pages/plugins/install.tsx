// How plugins come: a folder or zip dropped on the page, a git address, or a new one to start from.
import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { call, path, upload } from "../../api";
import { entity } from "../../live";
import { attempt } from "../../toasts";
import { bytes } from "../../ui/format";
import "../../ui/drop.css";
import { type Dropped, dropped, fromFile, fromFolder } from "../../ui/zip";

interface Installation {
  id: string;
  lines: string[];
  /** Bytes sent of bytes to send, while an archive is under way. */
  sent?: [number, number];
}

export function Install() {
  const current = useSignal<Installation | undefined>(undefined);
  return (
    <section class="card stack" aria-labelledby="install-title">
      <h2 id="install-title">Install a plugin</h2>
      <div class="install">
        <DropZone current={current} />
        <FromGit current={current} />
        <NewPlugin current={current} />
      </div>
      {current.value && <ProgressLog current={current} />}
    </section>
  );
}

type Current = { current: Signal<Installation | undefined> };

function DropZone({ current }: Current) {
  const over = useSignal(false);
  const file = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);
  const install = (found: () => Promise<Dropped>) => attempt(async () => send(current, await found()));
  return (
    <section
      class={over.value ? "drop over" : "drop"}
      aria-label="Drop a plugin here"
      onDragOver={(event) => {
        event.preventDefault();
        over.value = true;
      }}
      onDragLeave={() => {
        over.value = false;
      }}
      onDrop={(event) => {
        event.preventDefault();
        over.value = false;
        const items = event.dataTransfer?.items;
        if (items) install(() => dropped(items));
      }}
    >
      <p>Drop a folder or a zip archive with a main.py</p>
      <div class="row">
        <button type="button" onClick={() => folder.current?.click()}>
          Choose a folder
        </button>
        <button type="button" onClick={() => file.current?.click()}>
          Choose a zip
        </button>
      </div>
      <input
        ref={file}
        class="visually-hidden"
        type="file"
        accept=".zip"
        aria-label="Zip archive of a plugin"
        tabIndex={-1}
        onChange={({ currentTarget: { files } }) => files?.[0] && install(async () => fromFile(files[0] as File))}
      />
      <input
        ref={folder}
        class="visually-hidden"
        type="file"
        aria-label="Folder of a plugin"
        tabIndex={-1}
        {...{ webkitdirectory: true }}
        onChange={({ currentTarget: { files } }) => files?.length && install(() => fromFolder(files))}
      />
    </section>
  );
}

async function send(current: Signal<Installation | undefined>, { name, archive }: Dropped): Promise<void> {
  current.value = { id: name, lines: [], sent: [0, archive.size] };
  const progress = (sent: number) => update(current, { sent: [sent, archive.size] });
  await upload("PUT", path("plugin-folders", name), archive, progress);
  update(current, { sent: undefined });
  note(current, `${bytes(archive.size)} were unpacked; main.py runs now`);
}

function FromGit({ current }: Current) {
  const address = useSignal("");
  const submit = (event: Event) => {
    event.preventDefault();
    const given = address.value.trim();
    const id =
      given
        .replace(/[#?].*$/, "")
        .replace(/\/+$/, "")
        .split("/")
        .pop()
        ?.replace(/\.git$/, "") || "plugin";
    current.value = { id, lines: [`cloning ${given}`] };
    const config = {
      type: "python",
      params: { address: /^(https?|ssh):/.test(given) ? `git://${given.replace(/^\w+:\/\//, "")}` : given },
    };
    attempt(() => call("PUT", path("plugins", id), { json: config, headers: { async: "true" } }));
  };
  return (
    <form class="stack" onSubmit={submit}>
      <label class="field">
        Git address
        <input
          required
          placeholder="git://host/name/plugin.git"
          value={address.value}
          onInput={(event) => {
            address.value = event.currentTarget.value;
          }}
        />
      </label>
      <button type="submit">Install from git</button>
    </form>
  );
}

function NewPlugin({ current }: Current) {
  const name = useSignal("");
  const submit = (event: Event) => {
    event.preventDefault();
    attempt(() =>
      create(name.value).then(() => {
        current.value = { id: name.value, lines: ["the folder was made; main.py runs now"] };
      }),
    );
  };
  return (
    <form class="stack" onSubmit={submit}>
      <label class="field">
        Name of a new plugin
        <input
          required
          pattern="[A-Za-z0-9][A-Za-z0-9_\-]*"
          title="letters, digits, - and _"
          value={name.value}
          onInput={(event) => {
            name.value = event.currentTarget.value;
          }}
        />
      </label>
      <button type="submit">Make a new plugin</button>
    </form>
  );
}

/** A folder with a page, a route and a function; the server makes the plugin of it. */
export async function create(name: string): Promise<void> {
  await call("POST", path("plugin-folders", name));
}

function ProgressLog({ current }: Current) {
  const { id, lines, sent } = current.value as Installation;
  const known = entity("plugin", id);
  useEffect(() => {
    // What the plugin says while it starts; earlier lines belong to an earlier one of that name.
    const events = new EventSource(`/logs/mldb/events?n=0&source=${encodeURIComponent(id)}`);
    events.onmessage = (event) => note(current, JSON.parse(event.data).message);
    return () => events.close();
  }, [id, current]);
  return (
    <div class="stack" role="status">
      <div class="row">
        <strong class="grow">{id}</strong>
        <span class="soft">{sent ? "uploading" : (known?.plugin?.state ?? known?.state ?? "waiting")}</span>
      </div>
      {sent && <progress aria-label="Upload" value={sent[0]} max={sent[1]} />}
      {known?.error && <p class="notice error">{known.error.error}</p>}
      {lines.length > 0 && <pre class="progress-log">{lines.join("\n")}</pre>}
    </div>
  );
}

const KEPT_LINES = 200;

function note(current: Signal<Installation | undefined>, line: string): void {
  if (current.value) update(current, { lines: [...current.value.lines, line].slice(-KEPT_LINES) });
}

function update(current: Signal<Installation | undefined>, change: Partial<Installation>): void {
  if (current.value) current.value = { ...current.value, ...change };
}
