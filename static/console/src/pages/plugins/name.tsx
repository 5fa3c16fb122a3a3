// The name of a plugin that is to be made: that of its folder.
import type { Signal } from "@preact/signals";
import type { RefObject } from "preact";

interface PluginNameProps {
  label: string;
  name: Signal<string>;
  grow?: boolean;
  input?: RefObject<HTMLInputElement | null>;
}

export function PluginName({ label, name, grow, input }: PluginNameProps) {
  return (
    <label class={grow ? "field grow" : "field"}>
      {label}
      <input
        ref={input}
        required
        pattern="[A-Za-z0-9][A-Za-z0-9_\-]*"
        title="letters, digits, - and _"
        value={name.value}
        onInput={(event) => {
          name.value = event.currentTarget.value;
        }}
      />
    </label>
  );
}
