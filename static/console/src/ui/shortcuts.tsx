// Keys of the whole console, and the dialog that tells of them.
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { navigation } from "../pages";
import { navigate } from "../router";
import { Dialog } from "./dialog";

const OFF = "mldb.keys";

const shown = signal(false);
const enabled = signal(localStorage.getItem(OFF) !== "off");

/** The letter after `g` that goes to a page: the first one of its name that no page before it has. */
const letters = new Map<string, { label: string; href: string }>();
for (const entry of navigation) {
  const letter = [...entry.label.toLowerCase()].find((each) => !letters.has(each));
  if (letter) letters.set(letter, entry);
}

/** Does the element take what is typed? A box to tick does not: keys work while it has the focus. */
const typing = (target: EventTarget | null) =>
  target instanceof HTMLElement &&
  (target.isContentEditable || target.matches("textarea, select, input:not([type=checkbox], [type=radio])"));

function go(href: string): void {
  if (href === "/" || href.startsWith("/console")) navigate(href);
  else window.location.assign(href);
}

function useKeys(): void {
  useEffect(() => {
    let awaited = false; // `g` waits for its letter without a limit of time: a busy page is no wrong key
    const pressed = (event: KeyboardEvent) => {
      if (event.key === "Shift") return;
      const page = awaited ? letters.get(event.key) : undefined;
      awaited = false;
      if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
      if (!enabled.value || document.querySelector("dialog[open]")) return;
      if (page) go(page.href);
      else if (event.key === "g") awaited = true;
      else if (event.key === "?") shown.value = true;
      else if (event.key === "/") document.querySelector<HTMLElement>("main input[type=search]")?.focus();
      else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, []);
}

export function ShortcutsButton() {
  return (
    <button
      type="button"
      class="small shortcuts"
      onClick={() => {
        shown.value = true;
      }}
    >
      Keyboard
    </button>
  );
}

/** The keys themselves and their dialog: beside the pages, as the menu may be folded away. */
export function Shortcuts() {
  useKeys();
  return shown.value ? <Help /> : null;
}

function Help() {
  return (
    <Dialog
      title="Keyboard"
      onClose={() => {
        shown.value = false;
      }}
    >
      <table class="list keys">
        <tbody>
          {[...letters].map(([letter, { label }]) => (
            <tr key={letter}>
              <td>
                <kbd>g</kbd> <kbd>{letter}</kbd>
              </td>
              <td>{label}</td>
            </tr>
          ))}
          <KeyRow keys={["/"]} text="Search on this page" />
          <KeyRow keys={["?"]} text="This list" />
          <KeyRow keys={["Ctrl", "Enter"]} text="Run the query" />
          <KeyRow keys={["Ctrl", "Space"]} text="Complete in the editor" />
          <KeyRow keys={["Tab"]} text="Leave the editor" />
        </tbody>
      </table>
      <div class="actions">
        <label class="row grow">
          <input
            type="checkbox"
            checked={enabled.value}
            onChange={(event) => {
              enabled.value = event.currentTarget.checked;
              localStorage.setItem(OFF, enabled.value ? "on" : "off");
            }}
          />
          Single keys work
        </label>
        <button
          type="button"
          class="primary"
          onClick={() => {
            shown.value = false;
          }}
        >
          Close
        </button>
      </div>
    </Dialog>
  );
}

function KeyRow({ keys, text }: { keys: string[]; text: string }) {
  return (
    <tr>
      <td>
        {keys.map((key) => (
          <>
            <kbd>{key}</kbd>{" "}
          </>
        ))}
      </td>
      <td>{text}</td>
    </tr>
  );
}
