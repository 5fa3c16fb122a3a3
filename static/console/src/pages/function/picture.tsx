// A function on a picture that is dropped here: by its bytes, or by the address that the server keeps it under meanwhile.
import { useSignal } from "@preact/signals";
import { call, path, sqlName, sqlText, upload } from "../../api";
import { complain } from "../../toasts";
import { DropFile } from "../../ui/drop";
import { callQuery, firstRow } from "./apply";
import type { ValueInfo } from "./info";
import { TrialResult, useTrial } from "./trial";

interface PictureProps {
  id: string;
  input: ValueInfo | undefined;
  suggested: { name: string; blob: boolean } | undefined;
}

export function TryPicture({ id, input, suggested }: PictureProps) {
  const name = useSignal(suggested?.name ?? input?.knownColumns?.[0]?.columnName ?? "content");
  const blob = useSignal(suggested?.blob ?? true);
  const shown = useSignal("");
  const [trial, run] = useTrial();
  const take = (file: File) => {
    read(file).then((source) => {
      shown.value = source;
    }, complain);
    run(() => applyToFile(id, file, name.value, blob.value));
  };
  return (
    <div class="stack">
      <div class="row">
        <label class="field grow">
          Input for the picture
          <input
            list="picture-inputs"
            autocomplete="off"
            value={name.value}
            onInput={(event) => {
              name.value = event.currentTarget.value;
            }}
          />
        </label>
        <datalist id="picture-inputs">
          {input?.knownColumns?.map(({ columnName }) => (
            <option key={columnName} value={columnName} />
          ))}
        </datalist>
        <label class="field">
          given as
          <select
            value={blob.value ? "bytes" : "address"}
            onChange={(event) => {
              blob.value = event.currentTarget.value === "bytes";
            }}
          >
            <option value="bytes">its bytes</option>
            <option value="address">its address</option>
          </select>
        </label>
      </div>
      <DropFile label="Picture" text="Drop a picture here" accept="image/*" onFile={take} />
      {trial.value.busy && <progress aria-label="The function is being applied" />}
      <TrialResult trial={trial.value}>
        {shown.value && <img class="output-picture" src={shown.value} alt="what was given" />}
      </TrialResult>
    </div>
  );
}

/** The file as a `data:` URL, which is what our policy lets a page show. */
function read(file: File): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(new Error(`${file.name} cannot be read`));
    reader.readAsDataURL(file);
  });
}

/** The file lies on the server for as long as the function looks at it. */
async function applyToFile(id: string, file: File, input: string, blob: boolean): Promise<unknown> {
  const kept = `try-${crypto.randomUUID?.() ?? Math.random()}-${file.name}`;
  const { url } = await upload<{ url: string }>("PUT", path("uploads", kept), file, () => undefined);
  try {
    const value = blob ? `fetcher(${sqlText(url)})[content]` : sqlText(url);
    return await firstRow(callQuery(id, `{${value} AS ${sqlName(input)}}`));
  } finally {
    call("DELETE", path("uploads", kept)).catch(complain);
  }
}
