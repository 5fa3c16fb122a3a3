// Short messages at the edge of the page; errors show the server's error body.
import { signal } from "@preact/signals";
import { ApiError } from "./api";

interface Toast {
  key: number;
  kind: "good" | "error";
  text: string;
  error?: ApiError;
}

const toasts = signal<Toast[]>([]);
let keys = 0;

const GOOD_MS = 4000;

export function say(text: string): void {
  const key = add({ kind: "good", text });
  setTimeout(() => dismiss(key), GOOD_MS);
}

/** Show what was thrown. A cancel by the user is no error. */
export function complain(error: unknown): void {
  if (error instanceof DOMException && error.name === "AbortError") return;
  if (error instanceof ApiError) add({ kind: "error", text: error.message, error });
  else add({ kind: "error", text: error instanceof Error ? error.message : String(error) });
}

/** Run something that may fail; errors become toasts. `undefined` when it failed. */
export async function attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    complain(error);
    return undefined;
  }
}

function add(toast: Omit<Toast, "key">): number {
  const key = ++keys;
  toasts.value = [...toasts.value.slice(-3), { ...toast, key }];
  return key;
}

function dismiss(key: number): void {
  toasts.value = toasts.value.filter((toast) => toast.key !== key);
}

export function Toasts() {
  return (
    <section class="toasts" aria-label="Messages" aria-live="polite">
      {toasts.value.map((toast) => (
        <div key={toast.key} class={`toast ${toast.kind}`} role={toast.kind === "error" ? "alert" : "status"}>
          <header>
            <strong>{toast.text}</strong>
            <button type="button" class="quiet small" aria-label="Dismiss" onClick={() => dismiss(toast.key)}>
              ✕
            </button>
          </header>
          {toast.error && <ErrorDetails error={toast.error} />}
        </div>
      ))}
    </section>
  );
}

function ErrorDetails({ error }: { error: ApiError }) {
  return (
    <details>
      <summary>
        {error.request} · {error.status || "no answer"}
      </summary>
      <pre>{JSON.stringify(error.body, null, 2)}</pre>
    </details>
  );
}
