// How plugins come: a folder or zip dropped on the page, a git address, a configuration, or a new one to start from.
import { type Signal, signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { call, json, path, upload } from "../../api";
import { entity } from "../../live";
import { attempt } from "../../toasts";
import { Confirm } from "../../ui/dialog";
import { DropArea } from "../../ui/drop";
import { bytes } from "../../ui/format";
import { type Dropped, dropped, fromFile, fromFolder } from "../../ui/zip";
import { PluginName } from "./name";

interface Installation {
  id: string;
  lines: string[];
  /** Why it could not even be fetched. */
  refused?: string;
  /** Bytes sent of bytes to send, while an archive is under way. */
  sent?: [number, number];
  /** To be called when the log is listened to, or cannot be. */
  heard: () => void;
}

type Type = "python" | "javascript";

/** A folder that would be replaced, and where the answer goes. */
const replacing = signal<{ id: string; answer: (yes: boolean) => void } | undefined>(undefined);

/** Whether to go on: what lies in a folder of that name would be lost. */
async function mayReplace(id: string): Promise<boolean> {
  const folders = await json<string[]>("GET", path("plugin-folders"));
  if (!folders.includes(id)) return true;
  return new Promise((answer) => {
    replacing.value = { id, answer };
  });
}

function Replace() {
  const asked = replacing.value;
  if (!asked) return null;
  return (
    <Confirm
      title={`Replace ${asked.id}?`}
      text="There is a plugin of that name in the data root; all files of its folder are replaced."
      action="Replace"
      onConfirm={() => asked.answer(true)}
      onClose={() => {
        asked.answer(false);
        replacing.value = undefined;
      }}
    />
  );
}

export function Install() {
  const current = useSignal<Installation | undefined>(undefined);
  return (
    <section class="card stack" aria-labelledby="install-title">
      <div class="row">
        <h2 id="install-title" class="grow">
          Install a plugin
        </h2>
        <a class="small" href="/doc/plugin-guide.md">
          How plugins are made
        </a>
      </div>
      <div class="install">
        <DropZone current={current} />
        <FromGit current={current} />
        <NewPlugin current={current} />
      </div>
      {current.value && <ProgressLog current={current} />}
      <Replace />
    </section>
  );
}

type Current = { current: Signal<Installation | undefined> };

function DropZone({ current }: Current) {
  const file = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);
  const install = (found: () => Promise<Dropped>) => attempt(async () => send(current, await found()));
  return (
    <DropArea label="Drop a plugin here" onDrop={({ items }) => install(() => dropped(items))}>
      <p>Drop a folder or a zip archive with a main.py or main.js</p>
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
    </DropArea>
  );
}

/** Show an installation; what the plugin says is listened to before there is a plugin that says anything. */
async function begin(current: Signal<Installation | undefined>, shown: Omit<Installation, "heard">): Promise<void> {
  await new Promise<void>((heard) => {
    current.value = { ...shown, heard };
  });
}

async function send(current: Signal<Installation | undefined>, { name, archive }: Dropped): Promise<void> {
  if (!(await mayReplace(name))) return;
  await begin(current, { id: name, lines: [], sent: [0, archive.size] });
  const progress = (sent: number) => update(current, { sent: [sent, archive.size] });
  await upload("PUT", path("plugin-folders", name), archive, progress);
  update(current, { sent: undefined });
  note(current, `${bytes(archive.size)} were unpacked; it is loaded now`);
}

/** What git hosts offer to copy (https, ssh, bare), as the server takes it. */
function gitAddress(given: string): string {
  if (/^(git|gist):\/\//.test(given)) return given;
  return `git://${given.replace(/^\w+:\/\//, "").replace(/^[\w.-]+@([^/:]+):/, "$1/")}`;
}

/** The last part of an address, without what is no name. */
function nameOf(address: string): string {
  const last = address
    .replace(/[#?].*$/, "")
    .replace(/\/+$/, "")
    .split("/")
    .pop();
  return last?.replace(/\.git$/, "") || "plugin";
}

function FromGit({ current }: Current) {
  const address = useSignal("");
  const busy = useSignal(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    const cloned = gitAddress(address.value.trim());
    const id = nameOf(cloned);
    busy.value = true;
    try {
      if (!(await mayReplace(id))) return;
      await begin(current, { id, lines: [`cloning ${cloned}`] });
      await call("PUT", path("plugin-folders", id), { query: { address: cloned } });
      note(current, "it was cloned; it is loaded now");
    } catch (error) {
      update(current, { refused: error instanceof Error ? error.message : String(error) });
    } finally {
      busy.value = false;
    }
  };
  return (
    <form class="stack" onSubmit={submit}>
      <label class="field">
        Git address
        <input
          required
          placeholder="github.com/name/plugin"
          value={address.value}
          onInput={(event) => {
            address.value = event.currentTarget.value;
          }}
        />
      </label>
      <button type="submit" disabled={busy.value}>
        Install from git
      </button>
      <a class="small" href="/console/new/plugin">
        From a configuration, with arguments or as a server of its own
      </a>
    </form>
  );
}

function NewPlugin({ current }: Current) {
  const name = useSignal("");
  const type = useSignal<Type>("python");
  const submit = (event: Event) => {
    event.preventDefault();
    attempt(async () => {
      await begin(current, { id: name.value, lines: [] });
      try {
        await create(name.value, type.value);
      } catch (error) {
        current.value = undefined;
        throw error;
      }
      note(current, "the folder was made; it is loaded now");
    });
  };
  return (
    <form class="stack" onSubmit={submit}>
      <PluginName label="Name of a new plugin" name={name} />
      <div class="row made-in">
        <select
          aria-label="Language of the new plugin"
          value={type.value}
          onChange={(event) => {
            type.value = event.currentTarget.value as Type;
          }}
        >
          <option value="python">Python</option>
          <option value="javascript">JavaScript</option>
        </select>
        <button type="submit" class="grow">
          Make a new plugin
        </button>
      </div>
    </form>
  );
}

/** A folder with a page, a route and a function; the server makes the plugin of it. */
export async function create(name: string, type: Type = "python"): Promise<void> {
  await call("POST", path("plugin-folders", name), { query: { type } });
}

function ProgressLog({ current }: Current) {
  const { id, lines, sent, refused, heard } = current.value as Installation;
  const known = entity("plugin", id);
  useEffect(() => {
    // What the plugin says while it starts; earlier lines belong to an earlier one of that name.
    const events = new EventSource(`/logs/mldb/events?n=0&source=${encodeURIComponent(id)}`);
    events.onmessage = (event) => note(current, JSON.parse(event.data).message);
    events.onopen = heard;
    events.onerror = heard; // an installation does not depend on its log
    return () => {
      events.close();
      heard();
    };
  }, [id, current, heard]);
  return (
    <div class="stack" role="status">
      <div class="row">
        <strong class="grow">{id}</strong>
        <span class="soft">
          {sent ? "uploading" : refused ? "refused" : (known?.plugin?.state ?? known?.state ?? "waiting")}
        </span>
      </div>
      {sent && <progress aria-label="Upload" value={sent[0]} max={sent[1]} />}
      {refused && <p class="notice error">{refused}</p>}
      {!refused && known?.error && <p class="notice error">{known.error.error}</p>}
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
