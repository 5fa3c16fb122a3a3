// The query editor: text, result as grid, plot or pictures, files, the compiled form; every query is a link.
import { useComputed, useSignal } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { ApiError, json, sqlName } from "../api";
import { entities, loaded } from "../live";
import { location, setQuery } from "../router";
import { attempt, complain, say } from "../toasts";
import { Block } from "../ui/copy";
import { plural, seconds } from "../ui/format";
import { Loading } from "../ui/page";
import { refused } from "../ui/refused";
import type { Editor } from "./query/editor";
import { Grid, type Table } from "./query/grid";
import { Pictures } from "./query/pictures";
import { Remembered } from "./query/remembered";
import { FIRST_ROWS, past, RUN, remember, saved, savedText } from "./query/stored";
import { type Timed, timed } from "./query/times";
import "./query/query.css";

const FILES = ["csv", "json", "parquet", "arrow"] as const;
const CHECK_MS = 500;
const PROGRESS_MS = 700;
const FIRST = "SELECT 'hello' AS greeting, 6 * 7 AS answer";

interface Shown {
  query: string;
  table: Table;
  timed?: Timed;
  seconds: number;
}

interface Running {
  id: string;
  began: number;
  stop: AbortController;
  rows: number;
  progress?: number;
}

export default function Query() {
  const linked = location.value.searchParams.get("saved");
  const text = useSignal(location.value.searchParams.get("q") ?? (linked ? "" : (past.value[0] ?? FIRST)));
  const editor = useRef<Editor | undefined>(undefined);
  const shown = useSignal<Shown | undefined>(undefined);
  const error = useSignal<ApiError | undefined>(undefined);
  const running = useSignal<Running | undefined>(undefined);
  const times = useSignal(false);

  const choose = (query: string) => {
    keepDraft(text.value);
    text.value = query; // an editor that is still on its way begins with it
    editor.current?.setText(query);
  };
  useEffect(() => {
    if (!linked) return;
    const before = text.value;
    attempt(async () => {
      const query = await savedText(linked);
      if (text.value === before) choose(query);
      else say(`You have typed meanwhile; ${linked} is under Saved`);
    });
  }, [linked]);

  const run = async () => {
    running.value?.stop.abort();
    const query = text.value.trim();
    if (!query) return;
    setQuery({ q: query, saved: "" });
    const current: Running = {
      id: crypto.randomUUID?.() ?? String(Math.random()),
      began: performance.now(),
      stop: new AbortController(),
      rows: 0,
    };
    running.value = current;
    error.value = undefined;
    editor.current?.mark(undefined);
    const watch = setInterval(() => ask(current, running), PROGRESS_MS);
    try {
      const result = await answer(query, times.value, current);
      shown.value = { query, ...result, seconds: (performance.now() - current.began) / 1000 };
      remember(query);
    } catch (problem) {
      if (problem instanceof ApiError) {
        error.value = problem;
        editor.current?.mark(problem);
      } else complain(problem);
    } finally {
      clearInterval(watch);
      if (running.value?.id === current.id) running.value = undefined;
    }
  };

  useEffect(() => {
    const asked = JSON.stringify(history.state) === JSON.stringify(RUN);
    history.replaceState(null, ""); // not again when one comes back
    if (asked) run();
  }, []);

  const nothing = !shown.value && !error.value && !running.value;
  return (
    <>
      <header class="page-head">
        <h1>Query</h1>
        <Remembered text={text.value} onChoose={choose} />
      </header>
      <div class="stack">
        <EditorBox editor={editor} text={text} onRun={run} />
        <div class="row">
          <button type="button" class="primary" disabled={!!running.value} onClick={run}>
            Run
          </button>
          {running.value && (
            <button type="button" onClick={() => running.value?.stop.abort()}>
              Cancel
            </button>
          )}
          <label class="row">
            <input
              type="checkbox"
              checked={times.value}
              onChange={(event) => {
                times.value = event.currentTarget.checked;
              }}
            />
            With times
          </label>
          <button
            type="button"
            class="quiet"
            onClick={() =>
              attempt(async () => {
                setQuery({ q: text.value.trim(), saved: "" });
                await navigator.clipboard.writeText(window.location.href);
                say("the link was copied");
              })
            }
          >
            Share
          </button>
          <span class="soft small keys-only">Ctrl+Enter runs it, Ctrl+Space completes</span>
        </div>
        {running.value && <Progress running={running.value} />}
        {error.value && (
          <p class="notice error" role="alert">
            {error.value.message.replace(`${text.value.trim()}:`, "line ")}
          </p>
        )}
        {nothing && (
          <Start
            onChoose={(query) => {
              choose(query);
              run();
            }}
          />
        )}
        {shown.value && <Result key={shown.value.query + shown.value.seconds} shown={shown.value} />}
      </div>
    </>
  );
}

/** A text that was never run is found in the history after another one takes its place. */
function keepDraft(text: string): void {
  if (text.trim() && text !== FIRST && !saved.value.some(({ query }) => query === text)) remember(text);
}

const STARTS = 8;
const BY_PRODUCT = /_results_\d+$/; // what a classifier.experiment leaves of each fold

/** Before the first result: the datasets, one click from their rows, and where the dialect is told. */
function Start({ onChoose }: { onChoose: (query: string) => void }) {
  const all = entities.dataset.value;
  const byProducts = all.filter(({ id }) => BY_PRODUCT.test(id));
  const datasets = [...all.filter(({ id }) => !BY_PRODUCT.test(id)), ...byProducts].slice(0, STARTS);
  return (
    <section class="card stack start" aria-label="Where to begin">
      {datasets.length > 0 && (
        <div class="row">
          <span class="soft">Look at</span>
          {datasets.map(({ id }) => (
            <button
              key={id}
              type="button"
              class="small"
              onClick={() => onChoose(`SELECT * FROM ${sqlName(id)} LIMIT ${FIRST_ROWS}`)}
            >
              {id}
            </button>
          ))}
          {all.length > STARTS && <a href="/console/datasets">all datasets</a>}
        </div>
      )}
      {loaded.value && !datasets.length && (
        <p class="soft">
          There is no dataset yet: <a href="/console/datasets">import a file</a>.
        </p>
      )}
      <p class="soft">
        New to the dialect? <a href="/doc/sql-guide.md.html">The SQL guide</a> and{" "}
        <a href="/doc/reference/functions.md.html">every function</a> with an example.
      </p>
    </section>
  );
}

async function answer(q: string, withTimes: boolean, { id, stop }: Running): Promise<{ table: Table; timed?: Timed }> {
  const options = { headers: { "x-query-id": id }, signal: stop.signal };
  if (withTimes) {
    const rows = await json<Parameters<typeof timed>[0]>("GET", "/v1/query", {
      query: { q, format: "full" },
      ...options,
    });
    const all = timed(rows);
    return { table: all.at(Number.POSITIVE_INFINITY), timed: all };
  }
  const [columns = [], ...rows] = await json<unknown[][]>("GET", "/v1/query", {
    query: { q, format: "table" },
    ...options,
  });
  return { table: { columns: columns as string[], rows } };
}

interface UnderWay {
  id: string;
  progress?: number;
  rows: number;
}

/** How far a query is, if it is still under way. */
async function ask(current: Running, running: { value: Running | undefined }): Promise<void> {
  // What cannot be asked now will be asked again: the query itself tells what is wrong.
  const queries = await json<UnderWay[]>("GET", "/v1/queries").catch(() => []);
  const found = queries.find(({ id }) => id === current.id);
  if (found && running.value?.id === current.id) {
    running.value = { ...current, progress: found.progress, rows: found.rows };
  }
}

function Progress({ running: { began, progress, rows } }: { running: Running }) {
  const now = useSignal(performance.now());
  useEffect(() => {
    const timer = setInterval(() => {
      now.value = performance.now();
    }, 200);
    return () => clearInterval(timer);
  }, [now]);
  return (
    <div role="status" class="small soft">
      running for {seconds(Math.max(0, now.value - began) / 1000)}
      {rows > 0 && `, ${plural(rows, "row")} so far`}
      <progress aria-label="Progress of the query" value={progress || undefined} max={1} />
    </div>
  );
}

interface EditorBoxProps {
  editor: { current: Editor | undefined };
  text: { value: string };
  onRun: () => void;
}

/** The editor comes as a chunk of its own. While one types, the server compiles what is there and errors are marked. */
function EditorBox({ editor, text, onRun }: EditorBoxProps) {
  const box = useRef<HTMLDivElement>(null);
  const latest = useRef(onRun);
  latest.current = onRun;
  useEffect(() => {
    let gone = false;
    let timer = 0;
    const check = (query: string) => {
      clearTimeout(timer);
      timer = setTimeout(async () => {
        const problem = await refused(query);
        if (!gone && text.value === query) editor.current?.mark(problem);
      }, CHECK_MS);
    };
    import("./query/editor").then(({ createEditor }) => {
      if (gone || !box.current) return;
      editor.current = createEditor(box.current, text.value, {
        onChange: (query) => {
          text.value = query;
          check(query);
        },
        onRun: () => latest.current(),
      });
    }, complain);
    return () => {
      gone = true;
      clearTimeout(timer);
      editor.current?.destroy();
      editor.current = undefined;
    };
  }, [editor, text]);
  return <div ref={box} class="editor" />;
}

const VIEWS = ["Table", "Plot", "Pictures", "Compiled"] as const;

function Result({ shown }: { shown: Shown }) {
  const view = useSignal<(typeof VIEWS)[number]>("Table");
  const moment = useSignal(Number.POSITIVE_INFINITY);
  const table = useComputed(() => shown.timed?.at(moment.value) ?? shown.table);
  const { columns, rows } = table.value;
  return (
    <section class="stack" aria-label="Result">
      <div class="row">
        <div class="row tabs" role="tablist" aria-label="Views of the result">
          {VIEWS.map((name) => (
            <button
              key={name}
              type="button"
              role="tab"
              class="small"
              aria-selected={view.value === name}
              onClick={() => {
                view.value = name;
              }}
            >
              {name}
            </button>
          ))}
        </div>
        <span class="grow soft small" role="status">
          {plural(rows.length, "row")}, {plural(columns.length, "column")}, {seconds(shown.seconds)}
        </span>
        <Export query={shown.query} />
      </div>
      {shown.timed && <TimeSlider moments={shown.timed.moments} moment={moment} />}
      {view.value === "Table" && <Grid table={table.value} label="Rows of the result" />}
      {view.value === "Plot" && <LazyPlot table={table.value} />}
      {view.value === "Pictures" && <Pictures table={table.value} />}
      {view.value === "Compiled" && <Compiled query={shown.query} />}
    </section>
  );
}

function Export({ query }: { query: string }) {
  return (
    <span class="row">
      <span class="soft small">Save as</span>
      {FILES.map((format) => (
        <a
          key={format}
          class="button small"
          download={`result.${format}`}
          href={`/v1/query/export?${new URLSearchParams({ q: query, format })}`}
        >
          {format}
        </a>
      ))}
    </span>
  );
}

function TimeSlider({ moments, moment }: { moments: number[]; moment: { value: number } }) {
  const at = useSignal(moments.length);
  if (!moments.length) return <p class="soft small">No value of this result has a time.</p>;
  const time = moments[at.value];
  return (
    <label class="row">
      <span class="small soft">As of</span>
      <input
        class="grow"
        type="range"
        min={0}
        max={moments.length}
        value={at.value}
        onInput={(event) => {
          at.value = Number(event.currentTarget.value);
          moment.value = moments[at.value] ?? Number.POSITIVE_INFINITY;
        }}
      />
      <output class="mono">{time === undefined ? "the end" : new Date(time).toISOString()}</output>
    </label>
  );
}

function LazyPlot({ table }: { table: Table }) {
  const component = useSignal<ComponentType<{ table: Table }> | undefined>(undefined);
  useEffect(() => {
    import("./query/plot").then((module) => {
      component.value = module.default;
    }, complain);
  }, [component]);
  const Plots = component.value;
  return Plots ? <Plots table={table} /> : <Loading />;
}

function Compiled({ query }: { query: string }) {
  const found = useSignal<{ sql: string; plan: string } | undefined>(undefined);
  useEffect(() => {
    attempt(async () => {
      const [{ pretty }, { sql, plan }] = await Promise.all([
        import("./query/pretty"),
        json<{ sql: string; plan: string }>("GET", "/v1/query/plan", { query: { q: query } }),
      ]);
      found.value = { sql: pretty(sql), plan };
    });
  }, [query, found]);
  if (!found.value) return <Loading />;
  return (
    <div class="stack">
      <h3>Compiled SQL</h3>
      <div class="card">
        <Block text={found.value.sql} label="the compiled SQL" />
      </div>
      <h3>Plan</h3>
      <div class="card">
        <Block text={found.value.plan} label="the plan" wide />
      </div>
    </div>
  );
}
