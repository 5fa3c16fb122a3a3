// A map of rows: two of their coordinates, coloured by what is known of them, with their pictures.
import { type Signal, useComputed, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { sqlName, sqlText } from "../../api";
import { entities } from "../../live";
import { link } from "../../router";
import { attempt, complain } from "../../toasts";
import { Choice } from "../../ui/choice";
import { count } from "../../ui/format";
import { Output } from "../../ui/result";
import { firstRow } from "../function/apply";
import { Chart, type PlotLibrary } from "./chart";
import {
  areKinds,
  column,
  type Described,
  describe,
  kindNames,
  MOST_POINTS,
  type Positions,
  picturesOf,
  positionsOf,
} from "./points";

interface RowMapProps {
  title: string;
  /** Query of the coordinates. */
  positions: string;
  /** Dataset with the column `cluster` of each row. */
  groups?: string;
  /** Dataset of the clusters' centres. */
  centres?: string;
  /** Dataset that describes the same rows. */
  described: string;
}

interface Point {
  row: string;
  x: number;
  y: number;
  colour: unknown;
  picture?: string;
}

const CLUSTER = "cluster";
const MOST_PICTURES = 300;

export function RowMap({ title, positions, groups, centres, described }: RowMapProps) {
  const found = useSignal<Positions | undefined>(undefined);
  const middle = useSignal<Positions | undefined>(undefined);
  const clusters = useSignal<Map<string, unknown> | undefined>(undefined);
  useEffect(() => {
    attempt(async () => {
      if (groups) clusters.value = await column(groups, CLUSTER);
      if (centres) middle.value = await positionsOf(`SELECT * FROM ${sqlName(centres)}`);
      found.value = await positionsOf(positions);
    });
  }, [positions, groups, centres, found, middle, clusters]);
  if (!found.value) return <progress aria-label="Loading the map" />;
  if (found.value.axes.length < 2) return <p class="soft">A map needs two numeric columns.</p>;
  return (
    <Shown title={title} found={found.value} middle={middle.value} clusters={clusters.value} described={described} />
  );
}

interface ShownProps {
  title: string;
  found: Positions;
  middle: Positions | undefined;
  clusters: Map<string, unknown> | undefined;
  described: string;
}

function Shown({ title, found, middle, clusters, described }: ShownProps) {
  const x = useSignal(found.axes[0] ?? "");
  const y = useSignal(found.axes[1] ?? "");
  const dataset = useSignal(described);
  const about = useSignal<Described | undefined>(undefined);
  const colour = useSignal(clusters ? CLUSTER : "");
  const colours = useSignal<Map<string, unknown>>(clusters ?? new Map());
  const picture = useSignal("");
  const pictures = useSignal<Map<string, string>>(new Map());
  const chosen = useSignal("");
  useEffect(() => {
    about.value = undefined;
    picture.value = "";
    if (!dataset.value) return;
    return latest(describe(dataset.value), (what) => {
      about.value = what;
      if (!clusters) colour.value = what.kinds;
      picture.value = what.pictures[0] ?? "";
    });
  }, [dataset.value, clusters, about, colour, picture]);
  useEffect(() => {
    if (colour.value === CLUSTER && clusters) colours.value = clusters;
    else if (!colour.value || !dataset.value) colours.value = new Map();
    else
      return latest(column(dataset.value, colour.value), (values) => {
        colours.value = values;
      });
  }, [colour.value, dataset.value, clusters, colours]);
  useEffect(() => {
    pictures.value = new Map();
    if (!picture.value) return;
    const read = column(dataset.value, picture.value).then((all) => {
      const shown = found.names.filter((name) => all.has(name)).slice(0, MOST_PICTURES);
      return picturesOf(shown.map((name) => [name, all.get(name)]));
    });
    return latest(read, (sources) => {
      pictures.value = sources;
    });
  }, [picture.value, dataset.value, found, pictures]);
  const points = useComputed(() => {
    const [across, up] = [found.axes.indexOf(x.value), found.axes.indexOf(y.value)];
    return found.names.map((row, index): Point => {
      const numbers = found.numbers[index] ?? [];
      const shade = colours.value.get(row) ?? null;
      return { row, x: numbers[across] ?? NaN, y: numbers[up] ?? NaN, colour: shade, picture: pictures.value.get(row) };
    });
  });
  const marks = useComputed(() => centresAt(middle, x.value, y.value));
  const choices = [...(clusters ? [CLUSTER] : []), ...(about.value?.columns ?? [])];
  return (
    <section class="card stack" aria-labelledby="map-title">
      <div class="row">
        <h2 id="map-title" class="grow">
          {title}
        </h2>
        <span class="soft small">
          {count(found.names.length)} rows{found.names.length === MOST_POINTS && ", the first ones"}
        </span>
      </div>
      <div class="map-choices">
        {found.axes.length > 2 && <Choice label="X axis" signal={x} options={found.axes} />}
        {found.axes.length > 2 && <Choice label="Y axis" signal={y} options={found.axes} />}
        <Choice label="Described by" signal={dataset} options={["", ...entities.dataset.value.map(({ id }) => id)]} />
        <Choice label="Colour" signal={colour} options={["", ...new Set([...choices, colour.value])].filter(unique)} />
        {!!about.value?.pictures.length && (
          <Choice label="Pictures" signal={picture} options={["", ...about.value.pictures]} />
        )}
      </div>
      <Chart
        label={`${title}: ${y.value} by ${x.value}${colour.value && `, coloured by ${colour.value}`}`}
        of={[points.value, marks.value, chosen.value]}
        draw={(plot, width) => drawn(plot, width, points.value, marks.value, [x.value, y.value], chosen.value)}
        onPick={(point) => {
          chosen.value = (point as Point).row;
        }}
      />
      <ChosenRow names={found.names} chosen={chosen} dataset={dataset.value} />
    </section>
  );
}

/** Take an answer over unless something else has been asked for meanwhile: what an effect returns. */
function latest<T>(answer: Promise<T>, take: (value: T) => void): () => void {
  let current = true;
  answer.then(
    (value) => {
      if (current) take(value);
    },
    (error) => {
      if (current) complain(error);
    },
  );
  return () => {
    current = false;
  };
}

const unique = (option: string, index: number, all: string[]) => all.indexOf(option) === index;

function centresAt(middle: Positions | undefined, x: string, y: string): { x: number; y: number; name: string }[] {
  if (!middle) return [];
  const [across, up] = [middle.axes.indexOf(x), middle.axes.indexOf(y)];
  if (across < 0 || up < 0) return [];
  return middle.names.map((name, index) => ({
    name,
    x: middle.numbers[index]?.[across] ?? NaN,
    y: middle.numbers[index]?.[up] ?? NaN,
  }));
}

function drawn(
  plot: PlotLibrary,
  width: number,
  points: Point[],
  centres: { x: number; y: number; name: string }[],
  [xLabel, yLabel]: [string, string],
  chosen: string,
) {
  const coloured = points.some(({ colour }) => colour !== null);
  const values = points.flatMap(({ colour }) => (colour === null ? [] : [colour]));
  const kinds = areKinds(values);
  const nameOf = kindNames(values);
  const shade = ({ colour }: Point) => (kinds && colour !== null ? nameOf(colour) : colour);
  const pictured = points.filter(({ picture }) => picture);
  const size = pictured.length > 120 ? 18 : 26;
  const one = points.find(({ row }) => row === chosen);
  return plot.plot({
    width,
    height: Math.max(320, Math.min(560, width * 0.7)),
    marginLeft: 45,
    x: { label: xLabel },
    y: { label: yLabel },
    color: coloured ? { legend: true, ...(kinds ? { type: "categorical" as const } : {}) } : undefined,
    marks: [
      plot.dot(points, {
        x: "x",
        y: "y",
        r: pictured.length ? size / 2 + 2 : points.length > 1000 ? 2.5 : 4,
        fill: coloured ? shade : "var(--accent)",
        fillOpacity: pictured.length ? 0.85 : 0.65,
      }),
      plot.image(pictured, { x: "x", y: "y", src: "picture", width: size, r: size / 2 }),
      plot.dot(centres, { x: "x", y: "y", symbol: "times", r: 7, stroke: "var(--ink)", strokeWidth: 2.5 }),
      ...(one ? [plot.dot([one], { x: "x", y: "y", r: size / 2 + 5, stroke: "var(--ink)", strokeWidth: 2.5 })] : []),
      plot.tip(points, plot.pointer({ x: "x", y: "y", channels: { row: "row", ...(coloured ? { is: shade } : {}) } })),
    ],
  });
}

interface ChosenRowProps {
  names: string[];
  chosen: Signal<string>;
  dataset: string;
}

/** One row of the map, chosen by a click or by its name, with what its dataset says of it. */
function ChosenRow({ names, chosen, dataset }: ChosenRowProps) {
  const values = useSignal<Record<string, unknown> | undefined>(undefined);
  const known = names.includes(chosen.value);
  useEffect(() => {
    values.value = undefined;
    if (!dataset || !known) return;
    const row = firstRow(`SELECT * FROM ${sqlName(dataset)} WHERE rowName() = ${sqlText(chosen.value)}`);
    return latest(row, (found) => {
      values.value = found;
    });
  }, [chosen.value, known, dataset, values]);
  return (
    <div class="stack">
      <label class="field">
        Row: type its name, or click on a point
        <input
          list="map-rows"
          autocomplete="off"
          value={chosen.value}
          onInput={(event) => {
            chosen.value = event.currentTarget.value;
          }}
        />
      </label>
      <datalist id="map-rows">
        {names.slice(0, 500).map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
      {values.value && (
        <div aria-live="polite">
          <Output value={values.value} plain />
          <a class="small" href={link("/console/datasets/:id", { id: dataset })}>
            {dataset}
          </a>
        </div>
      )}
    </div>
  );
}
