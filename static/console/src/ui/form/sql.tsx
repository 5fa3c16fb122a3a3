// An SQL text in a form: the query editor in small, loaded when the first one is shown.
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import type { ApiError } from "../../api";
import type { Editor } from "../../pages/query/editor";
import { complain } from "../../toasts";
import { refused } from "../refused";

const CHECK_MS = 500;

interface SqlProps {
  label: string;
  value: string;
  hint: string;
  /** Whole statements are compiled by the server while one types. */
  statement: boolean;
  error?: ApiError;
  onChange: (text: string) => void;
}

export function Sql({ label, value, hint, statement, error, onChange }: SqlProps) {
  const box = useRef<HTMLDivElement>(null);
  const editor = useRef<Editor | undefined>(undefined);
  const latest = useRef({ value, onChange });
  latest.current = { value, onChange };
  useEffect(() => {
    let gone = false;
    let timer = 0;
    const check = (text: string) => {
      clearTimeout(timer);
      timer = setTimeout(async () => {
        // Parameters of its own cannot be told before it is called.
        const problem = text.includes("$") ? undefined : await refused(text);
        if (!gone && latest.current.value === text) editor.current?.mark(problem);
      }, CHECK_MS);
    };
    import("../../pages/query/editor").then(({ createEditor }) => {
      if (gone || !box.current) return;
      editor.current = createEditor(box.current, latest.current.value, {
        label,
        hint,
        small: true,
        onChange: (text) => {
          latest.current.onChange(text);
          if (statement) check(text);
        },
      });
    }, complain);
    return () => {
      gone = true;
      clearTimeout(timer);
      editor.current?.destroy();
      editor.current = undefined;
    };
  }, [label, hint, statement]);
  // With the page, not after it is painted: by then more may have been typed, which an older value would undo.
  useLayoutEffect(() => {
    if (editor.current && editor.current.text() !== value) editor.current.setText(value);
  }, [value]);
  useEffect(() => {
    editor.current?.mark(error);
  }, [error]);
  return <div ref={box} class="sql-field" />;
}
