// Places to drop files, or to choose one with the keyboard.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import "./drop.css";

interface DropAreaProps {
  label: string;
  onDrop: (data: DataTransfer) => void;
  children: ComponentChildren;
}

export function DropArea({ label, onDrop, children }: DropAreaProps) {
  const over = useSignal(false);
  return (
    <section
      class={over.value ? "drop over" : "drop"}
      aria-label={label}
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
        if (event.dataTransfer) onDrop(event.dataTransfer);
      }}
    >
      {children}
    </section>
  );
}

interface DropFileProps {
  /** What the file is: the name of the place and of the input. */
  label: string;
  text: string;
  accept: string;
  onFile: (file: File) => void;
}

export function DropFile({ label, text, accept, onFile }: DropFileProps) {
  const chooser = useRef<HTMLInputElement>(null);
  const take = (file: File | undefined) => {
    if (file) onFile(file);
  };
  return (
    <DropArea label={text} onDrop={(data) => take(data.files[0])}>
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
    </DropArea>
  );
}
