// A place to drop a file, or to choose one with the keyboard.
import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import "./drop.css";

interface DropFileProps {
  /** What the file is: the name of the place and of the input. */
  label: string;
  text: string;
  accept: string;
  onFile: (file: File) => void;
}

export function DropFile({ label, text, accept, onFile }: DropFileProps) {
  const over = useSignal(false);
  const chooser = useRef<HTMLInputElement>(null);
  const take = (file: File | undefined) => {
    if (file) onFile(file);
  };
  return (
    <section
      class={over.value ? "drop over" : "drop"}
      aria-label={text}
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
        take(event.dataTransfer?.files[0]);
      }}
    >
      <p>{text}</p>
      <button type="button" onClick={() => chooser.current?.click()}>
        Choose a file
      </button>
      <input
        ref={chooser}
        class="visually-hidden"
        type="file"
        accept={accept}
        aria-label={label}
        tabIndex={-1}
        onChange={({ currentTarget }) => {
          take(currentTarget.files?.[0]);
          currentTarget.value = "";
        }}
      />
    </section>
  );
}
