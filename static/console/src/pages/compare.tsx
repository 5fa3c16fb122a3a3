// Runs that measure classifiers, side by side. The address names them: whoever is sent it sees the same.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type Entity, entities, entity, loaded } from "../live";
import { location, navigate } from "../router";
import { attempt } from "../toasts";
import { finished, measures, moment, namesOf, runKey } from "../ui/compared";
import { number, plural, seconds } from "../ui/format";
import { Crumbs, Loading } from "../ui/page";
import { runLink } from "../ui/runs";
import { type Key, SortHead, sorted } from "../ui/sorting";
import { Curves, colourOf, type Drawn, dashOf, drawable } from "./compare/curves";
import { type Compared, compared, differences, measured, type Part, training } from "./compare/runs";
import { at, MEASURES, type Measure } from "./run/measures";
import "./query/query.css";
import "./run/report.css";
import "./compare/compare.css";

/** Change what the address says, without a new entry in the history. */
function change(edit: (query: URLSearchParams) => void): void {
  const { pathname, searchParams } = location.value;
  const query = new URLSearchParams(searchParams);
  edit(query);
  navigate(`${pathname}?${query}`, { replace: true });
}

const live = (key: string) => {
  const { procedure, run } = namesOf(key);
  return entity("procedure", procedure)?.runs?.find(({ id }) => id === run);
};

export default function Compare() {
  const keys = [...new Set(location.value.searchParams.getAll("run"))];
  const known = useSignal<ReadonlyMap<string, Compared>>(new Map());
  // A run is asked for again when it has ended.
  const states = keys.map((key) => `${key} ${live(key)?.state}`).join("\n");
  useEffect(() => {
    if (!loaded.value) return;
    let current = true;
    attempt(async () => {
      const asked = keys.filter((key) => known.peek().get(key)?.problem !== "");
      const found = await Promise.all(asked.map((key) => compared(key, live(key))));
      if (current) known.value = new Map([...known.peek(), ...found.map((run) => [run.key, run] as const)]);
    });
    return () => {
      current = false;
    };
  }, [states, loaded.value, known]);
  const runs = keys.flatMap((key) => known.value.get(key) ?? []);
  return (
    <>
      <Crumbs kind="procedure" />
      <header class="page-head">
        <h1>Comparison of runs</h1>
        <Add keys={keys} />
      </header>
      {!keys.length ? (
        <p class="empty">
          Nothing to compare yet: choose runs of classifier.test and classifier.experiment here or in the{" "}
          <a href="/console/procedures">list of procedures</a>.{" "}
          <a href="/console/new/procedure?type=classifier.experiment">New experiment</a>
        </p>
      ) : runs.length < keys.length ? (
        <Loading />
      ) : (
        <Comparison runs={runs} />
      )}
    </>
  );
}

/** The runs that the stream tells of and that are not there yet. */
function Add({ keys }: { keys: string[] }) {
  const offered = entities.procedure.value.filter(measures).flatMap((procedure: Entity) =>
    finished(procedure)
      .map((run) => ({ key: runKey(procedure.id, run.id), name: `${procedure.id}, ${moment(run.started)}` }))
      .filter(({ key }) => !keys.includes(key)),
  );
  if (!offered.length) return null;
  return (
    <select
      aria-label="Add a run"
      value=""
      onChange={({ currentTarget }) => {
        const { value } = currentTarget;
        change((query) => query.append("run", value));
      }}
    >
      <option value="">Add a run …</option>
      {offered.map(({ key, name }) => (
        <option key={key} value={key}>
          {name}
        </option>
      ))}
    </select>
  );
}

/** The procedure's name; with the time where another run is of the same one. */
function nameOf(run: Compared, all: Compared[]): string {
  const several = all.filter(({ procedure }) => procedure === run.procedure).length > 1;
  return several && run.started !== undefined ? `${run.procedure}, ${moment(run.started)}` : run.procedure;
}

function Comparison({ runs }: { runs: Compared[] }) {
  const hidden = location.value.searchParams.getAll("without");
  const placed = runs.map((run, place): Drawn => ({ run, place, name: nameOf(run, runs) }));
  const drawn = placed.filter(({ run }) => !hidden.includes(run.key) && drawable(run).length > 0);
  return (
    <div class="stack report">
      <Measures placed={placed} hidden={hidden} />
      <Curves drawn={drawn} />
      <Differences placed={placed.filter(({ run }) => !run.problem)} />
    </div>
  );
}

function Measures({ placed, hidden }: { placed: Drawn[]; hidden: string[] }) {
  const shown = MEASURES.filter((measure) => placed.some(({ run }) => measured(run, measure)));
  const folded = placed.some(({ run }) => run.parts.length > 1);
  const open = folded && location.value.searchParams.has("folds");
  const keys: Key<Drawn>[] = [
    { head: "Run", by: ({ name }) => name },
    ...shown.map((measure) => ({ head: measure.short, by: ({ run }: Drawn) => measured(run, measure)?.value })),
    { head: "Training", by: ({ run }) => training(run) },
  ];
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <section class="card scroll-x" tabIndex={0} aria-label="Measures">
      <table class="list compared">
        <thead>
          <tr>
            {keys.map(({ head }, index) => (
              <SortHead key={head} head={head} number={index > 0} />
            ))}
            <th>
              <span class="visually-hidden">Action</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {sorted(placed, keys).flatMap((each) => [
            <RunRow key={each.run.key} drawn={each} all={placed} measures={shown} hidden={hidden} />,
            ...(open && each.run.parts.length > 1 ? each.run.parts : []).map((part) => (
              <FoldRow key={`${each.run.key} ${part.name}`} part={part} measures={shown} />
            )),
          ])}
        </tbody>
      </table>
      <div class="row small soft compared-foot">
        {folded && (
          <label class="row">
            <input
              type="checkbox"
              checked={open}
              onChange={({ currentTarget: { checked } }) =>
                change((query) => (checked ? query.set("folds", "shown") : query.delete("folds")))
              }
            />
            Each fold
          </label>
        )}
        <span>
          {folded && "Means over the folds ± standard deviation. "}
          {placed.length > 1 && "The best of each measure is bold."}
        </span>
      </div>
    </section>
  );
}

interface RunRowProps {
  drawn: Drawn;
  all: Drawn[];
  measures: Measure[];
  hidden: string[];
}

function RunRow({ drawn: { run, place, name }, all, measures: shown, hidden }: RunRowProps) {
  const { key, procedure, started, parts, problem } = run;
  const took = training(run);
  const curves = drawable(run).length > 0;
  return (
    <tr>
      <td>
        <div class="compared-run">
          {curves && (
            <label class="row" title="Draw its curves">
              <input
                type="checkbox"
                aria-label={`Curves of ${name}`}
                checked={!hidden.includes(key)}
                onChange={({ currentTarget: { checked } }) =>
                  change((query) => (checked ? query.delete("without", key) : query.append("without", key)))
                }
              />
              <Swatch place={place} />
            </label>
          )}
          <span>
            <a href={runLink(procedure, run.run)}>{procedure}</a>
            <span class="small soft">
              {started !== undefined && moment(started)}
              {parts.length > 1 && `, ${plural(parts.length, "fold")}`}
            </span>
            {problem && <span class="small problem">{problem}</span>}
          </span>
        </div>
      </td>
      {shown.map((measure) => (
        <td key={measure.name} class="number">
          <Value run={run} all={all} measure={measure} />
        </td>
      ))}
      <td class="number">{took === undefined ? null : seconds(took)}</td>
      <td>
        <button
          type="button"
          class="quiet small"
          aria-label={`Take out ${name}`}
          onClick={() =>
            change((query) => {
              query.delete("run", key);
              query.delete("without", key);
            })
          }
        >
          Take out
        </button>
      </td>
    </tr>
  );
}

function Swatch({ place }: { place: number }) {
  return (
    <svg class="swatch" viewBox="0 0 24 8" aria-hidden="true">
      <line x1="0" y1="4" x2="24" y2="4" style={{ stroke: colourOf(place), strokeDasharray: dashOf(place) }} />
    </svg>
  );
}

/** With as many decimals as the others, so that they can be compared at a glance. */
const figure = (value: number) => (Math.abs(value) <= 1 ? value.toFixed(4) : number(value));

function Value({ run, all, measure }: { run: Compared; all: Drawn[]; measure: Measure }) {
  const own = measured(run, measure);
  if (!own) return null;
  const values = all.flatMap((each) => measured(each.run, measure)?.value ?? []);
  const best = measure.descending ? Math.min(...values) : Math.max(...values);
  const text = figure(own.value);
  return (
    <>
      {values.length > 1 && own.value === best ? <strong title="The best">{text}</strong> : text}
      {own.deviation !== undefined && <span class="soft small"> ± {figure(own.deviation)}</span>}
    </>
  );
}

function FoldRow({ part, measures: shown }: { part: Part; measures: Measure[] }) {
  return (
    <tr class="fold">
      <td>{part.name}</td>
      {shown.map((measure) => {
        const value = at(part.statistics, measure);
        return (
          <td key={measure.name} class="number">
            {typeof value === "number" ? figure(value) : null}
          </td>
        );
      })}
      <td class="number">{part.training === undefined ? null : seconds(part.training)}</td>
      <td />
    </tr>
  );
}

function Differences({ placed }: { placed: Drawn[] }) {
  const found = differences(placed.map(({ run }) => run));
  if (placed.length < 2) return null;
  if (!found.length)
    return <p class="soft">The parameters of these runs are the same but for where they leave what they make.</p>;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <section class="card scroll-x" tabIndex={0} aria-labelledby="differences-title">
      <h2 id="differences-title">Where their parameters differ</h2>
      <table class="list differences">
        <thead>
          <tr>
            <th>Parameter</th>
            {placed.map(({ run, name }) => (
              <th key={run.key}>{name}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {found.map(([name, values]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              {values.map((value, index) => (
                <td key={placed[index]?.run.key}>
                  {value === undefined ? <span class="soft">–</span> : <code>{told(value)}</code>}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

const told = (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value));
