// The text of the query: CodeMirror in a shadow root, where its styles are sheets and not elements, as our policy asks.
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { bracketMatching, HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { type Diagnostic, lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { EditorState } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers, placeholder } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import type { ApiError } from "../../api";
import { complete, dialect } from "./dialect";

const colours = HighlightStyle.define([
  { tag: tags.keyword, color: "var(--accent)", fontWeight: "600" },
  { tag: tags.string, color: "var(--good)" },
  { tag: [tags.number, tags.atom], color: "var(--warning)" },
  { tag: [tags.lineComment, tags.blockComment], color: "var(--soft)", fontStyle: "italic" },
  { tag: tags.function(tags.variableName), color: "var(--ink)", fontWeight: "600" },
]);

const theme = EditorView.theme({
  "&": { color: "var(--ink)", backgroundColor: "var(--panel)", maxHeight: "45vh" },
  "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "-1px" },
  ".cm-scroller": { font: "var(--mono)", overflow: "auto" },
  ".cm-content": { caretColor: "var(--ink)" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  ".cm-gutters": { backgroundColor: "var(--panel)", color: "var(--soft)", border: "0" },
  ".cm-activeLine": { backgroundColor: "color-mix(in srgb, var(--accent) 6%, transparent)" },
  ".cm-selectionBackground, &.cm-focused .cm-selectionBackground": {
    backgroundColor: "color-mix(in srgb, var(--accent) 25%, transparent) !important",
  },
  ".cm-placeholder": { color: "var(--soft)" },
  ".cm-tooltip, .cm-panels": {
    backgroundColor: "var(--raised)",
    color: "var(--ink)",
    border: "1px solid var(--line)",
    borderRadius: "var(--radius-small)",
  },
  ".cm-tooltip-autocomplete > ul > li[aria-selected]": {
    backgroundColor: "var(--accent) !important",
    color: "var(--on-accent) !important",
  },
  // Narrow enough for the explanation to stand beside it instead of upon it.
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { maxWidth: "min(26rem, 90vw)" },
  "@media (max-width: 52rem)": { ".cm-tooltip.cm-completionInfo": { display: "none" } },
  ".cm-completionInfo": { maxWidth: "24rem", whiteSpace: "pre-wrap", padding: "0.5rem 0.7rem" },
  ".cm-completionDetail": { fontStyle: "normal", opacity: "0.75" },
});

const largeTheme = EditorView.theme({ "&": { minHeight: "9rem" }, ".cm-scroller": { minHeight: "9rem" } });
const smallTheme = EditorView.theme({ ".cm-content": { padding: "0.45rem 0.35rem" } });

/**
 * Text typed over a selection. Chrome would keep the look of what was selected by a style attribute, which our policy
 * refuses (and reports) before the editor takes it out again.
 */
const typeOver = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const { from, to, empty } = view.state.selection.main;
    const text = event.data;
    if (event.inputType !== "insertText" || !text || empty || view.composing) return false;
    const insert = () => view.state.update(view.state.replaceSelection(text), { userEvent: "input.type" });
    const handled = view.state.facet(EditorView.inputHandler).some((handler) => handler(view, from, to, text, insert));
    if (!handled) view.dispatch(insert());
    event.preventDefault();
    return true;
  },
});

export interface Editor {
  text(): string;
  setText(text: string): void;
  focus(): void;
  /** Underline what the server refused; `undefined` takes the marks away. */
  mark(error: ApiError | undefined): void;
  destroy(): void;
}

export interface EditorOptions {
  onChange: (text: string) => void;
  onRun?: () => void;
  /** What the text is called for those who do not see it, and what is shown while it is empty. */
  label?: string;
  hint?: string;
  /** A field of a form: as high as its text, without line numbers. */
  small?: boolean;
}

export function createEditor(
  parent: HTMLElement,
  text: string,
  { onChange, onRun, label = "SQL", hint = "SELECT … FROM …", small = false }: EditorOptions,
): Editor {
  const root = parent.shadowRoot ?? parent.attachShadow({ mode: "open" });
  const run = () => {
    onRun?.();
    return onRun !== undefined;
  };
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: text,
      extensions: [
        small ? [] : [lineNumbers(), highlightActiveLine(), lintGutter()],
        history(),
        drawSelection(),
        bracketMatching(),
        closeBrackets(),
        highlightSelectionMatches(),
        dialect,
        syntaxHighlighting(colours),
        autocompletion({ override: [complete] }),
        theme,
        small ? smallTheme : largeTheme,
        EditorView.lineWrapping,
        typeOver,
        EditorView.contentAttributes.of({ "aria-label": label }),
        placeholder(hint),
        // Tab leaves the editor: who works by keyboard must not be caught in it.
        keymap.of([
          { key: "Mod-Enter", run },
          { key: "Shift-Enter", run },
          ...closeBracketsKeymap,
          ...completionKeymap,
          ...lintKeymap,
          ...searchKeymap,
          ...historyKeymap,
          ...defaultKeymap,
        ]),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) onChange(update.state.doc.toString());
        }),
      ],
    }),
  });
  return {
    text: () => view.state.doc.toString(),
    setText: (next) => view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: next } }),
    focus: () => view.focus(),
    mark: (error) =>
      view.dispatch(setDiagnostics(view.state, error ? [diagnostic(error, view.state.doc.toString())] : [])),
    destroy: () => view.destroy(),
  };
}

/** Where an error is: at the offset that the server gives, else at the name that its message quotes. */
function diagnostic(error: ApiError, text: string): Diagnostic {
  const offset = error.detail("offset");
  const length = error.detail("length");
  let from = typeof offset === "number" ? Math.min(offset, text.length) : -1;
  let to = from;
  if (from >= 0) {
    to = Math.min(
      text.length,
      from + (typeof length === "number" ? length : (/^[\w.]+|^./.exec(text.slice(from))?.[0].length ?? 0)),
    );
    if (from === to) from = Math.max(0, from - 1);
  } else {
    [from, to] = namedIn(error.message, text) ?? [0, text.length];
  }
  return { from, to, severity: "error", message: error.message.replace(`${text}:`, "") };
}

function namedIn(message: string, text: string): [number, number] | undefined {
  const names = [...message.matchAll(/['"`]([^'"`]+)['"`]/g)].map((found) => found[1] as string);
  const builtin = /function (\w+)/.exec(message)?.[1];
  for (const name of builtin ? [...names, builtin] : names) {
    const at = text.indexOf(name);
    if (at >= 0) return [at, at + name.length];
  }
  return undefined;
}
