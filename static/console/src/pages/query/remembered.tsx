// What was run before and what was saved, to be chosen again, shared and removed.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { setQuery } from "../../router";
import { attempt, say } from "../../toasts";
import { forget, loadSaved, past, type Saved, save, saved, savedLink } from "./stored";

interface Props {
  text: string;
  onChoose: (query: string) => void;
}

export function Remembered({ text, onChoose }: Props) {
  return (
    <div class="row">
      <label>
        <span class="visually-hidden">History</span>
        <select
          value=""
          onChange={(event) => {
            onChoose(event.currentTarget.value);
            event.currentTarget.value = "";
          }}
        >
          <option value="">History</option>
          {past.value.map((query) => (
            <option key={query} value={query}>
              {query.replace(/\s+/g, " ").slice(0, 80)}
            </option>
          ))}
        </select>
      </label>
      <SavedMenu text={text} onChoose={onChoose} />
    </div>
  );
}

function SavedMenu({ text, onChoose }: Props) {
  const menu = useRef<HTMLDetailsElement>(null);
  const name = useSignal("");
  const close = () => {
    if (!menu.current?.open) return;
    menu.current.open = false;
    menu.current.querySelector("summary")?.focus();
  };
  useEffect(() => {
    const outside = (event: PointerEvent) => {
      if (menu.current?.open && !menu.current.contains(event.target as Node)) menu.current.open = false;
    };
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, []);
  return (
    <details
      ref={menu}
      class="saved"
      onToggle={(event) => {
        if (event.currentTarget.open) attempt(loadSaved);
      }}
      onKeyDown={(event) => {
        if (event.key === "Escape") close();
      }}
    >
      <summary class="button">Saved</summary>
      <div class="card stack">
        {saved.value.length === 0 && (
          <p class="soft small">Saved queries are kept on the server, for all who use it.</p>
        )}
        {saved.value.map((each) => (
          <SavedRow
            key={each.name}
            saved={each}
            onChoose={() => {
              onChoose(each.query);
              setQuery({ saved: each.name, q: "" });
              close();
            }}
          />
        ))}
        <form
          class="row"
          onSubmit={(event) => {
            event.preventDefault();
            attempt(async () => {
              await save(name.value.trim(), text);
              name.value = "";
            });
          }}
        >
          <input
            class="grow"
            required
            maxLength={200}
            aria-label="Name for this query"
            placeholder="name for this query"
            value={name.value}
            onInput={(event) => {
              name.value = event.currentTarget.value;
            }}
          />
          <button type="submit">Save</button>
        </form>
      </div>
    </details>
  );
}

function SavedRow({ saved: { name, query }, onChoose }: { saved: Saved; onChoose: () => void }) {
  return (
    <div class="row saved-row">
      <button type="button" class="quiet grow" title={query} onClick={onChoose}>
        {name}
      </button>
      <button
        type="button"
        class="quiet small"
        aria-label={`Copy a link to ${name}`}
        onClick={() =>
          attempt(async () => {
            await navigator.clipboard.writeText(savedLink(name));
            say("the link was copied");
          })
        }
      >
        Link
      </button>
      <button
        type="button"
        class="quiet small"
        aria-label={`Remove ${name}`}
        onClick={() =>
          attempt(async () => {
            await forget(name);
            say(`${name} was removed`);
          })
        }
      >
        ✕
      </button>
    </div>
  );
}
