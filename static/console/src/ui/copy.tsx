// Text that is shown as it is, with a button that copies it.
import { attempt, say } from "../toasts";

export function CopyButton({ text, label }: { text: string; label: string }) {
  return (
    <button
      type="button"
      class="small copy"
      aria-label={`Copy ${label}`}
      onClick={() =>
        attempt(async () => {
          await navigator.clipboard.writeText(text);
          say(`${label} was copied`);
        })
      }
    >
      Copy
    </button>
  );
}

/** A block of text; one that scrolls sideways can be reached by keyboard. */
export function Block({ text, label, wide = false }: { text: string; label: string; wide?: boolean }) {
  return (
    <div class="block">
      <CopyButton text={text} label={label} />
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard */}
      <pre class={wide ? "mono plan" : "mono"} tabIndex={0}>
        {text}
      </pre>
    </div>
  );
}

export const JsonBlock = ({ value, label }: { value: unknown; label: string }) => (
  <Block text={JSON.stringify(value, null, 2) ?? ""} label={label} />
);
