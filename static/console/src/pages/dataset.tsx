// One dataset: its rows, and its columns with kind, fill and distribution.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { json, path, sqlName, table } from "../api";
import { entity } from "../live";
import { location, navigate, setQuery } from "../router";
import { attempt, complain } from "../toasts";
import { Delete, Unusual } from "../ui/entities";
import { count, plural } from "../ui/format";
import { Crumbs, Missing } from "../ui/page";
import { Grid, type Table } from "./query/grid";
import { FIRST_ROWS, RUN } from "./query/stored";
import "./datasets/datasets.css";
import "./query/query.css";

const SHOWN_ROWS = 10_000;
const PAGE = 50;
const PAUSE_MS = 250;

export default function Dataset({ params: { id = "" } }: { params: Record<string, string> }) {
  const found = entity("dataset", id);
  const view = location.value.searchParams.get("view") ?? "columns";
  if (!found) return <Missing kind="dataset" id={id} />;
  const { status } = found;
  return (
    <>
      <Crumbs kind="dataset" />
      <header class="page-head">
        <h1>{id}</h1>
        <Unusual entity={found} />
        <QueryLink id={id} />
        <Delete entity={found} after="/console/datasets" />
      </header>
      <div class="stack">
        <p class="soft">
          <code>{found.type}</code>
          {status?.rowCount !== undefined && `, ${plural(status.rowCount, "row")}`}
          {status?.columnCount !== undefined && `, ${plural(status.columnCount, "column")}`}
        </p>
        {found.error && <p class="notice error">{found.error.error}</p>}
        <div class="row tabs" role="tablist" aria-label="Views of the dataset">
          {["columns", "rows"].map((name) => (
            <button
              key={name}
              type="button"
              role="tab"
              class="small"
              aria-selected={view === name}
              onClick={() => setQuery({ view: name })}
            >
              {name === "columns" ? "Columns" : "Rows"}
            </button>
          ))}
        </div>
        {found.serving && (view === "rows" ? <Rows id={id} /> : <Columns id={id} version={status?.rowCount ?? 0} />)}
      </div>
    </>
  );
}

/** Opens the editor with the rows already there; in a new tab the query is only written. */
function QueryLink({ id }: { id: string }) {
  const href = `/console/query?${new URLSearchParams({ q: `SELECT * FROM ${sqlName(id)} LIMIT ${FIRST_ROWS}` })}`;
  const open = (event: MouseEvent) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(href, { state: RUN });
  };
  return (
    <a class="button primary" href={href} onClick={open}>
      Query
    </a>
  );
}

function Rows({ id }: { id: string }) {
  const rows = useSignal<Table | undefined>(undefined);
  const search = useSignal("");
  useEffect(() => {
    const stop = new AbortController();
    attempt(async () => {
      rows.value = await table(`SELECT * FROM ${sqlName(id)} LIMIT ${SHOWN_ROWS}`, stop.signal);
    });
    return () => stop.abort();
  }, [id, rows]);
  if (!rows.value) return <progress aria-label="Loading the rows" />;
  if (!rows.value.rows.length) return <Empty />;
  const wanted = search.value.toLowerCase();
  const found = wanted
    ? rows.value.rows.filter((row) => row.some((value) => String(value).toLowerCase().includes(wanted)))
    : rows.value.rows;
  return (
    <>
      <div class="row">
        <input
          type="search"
          class="grow"
          aria-label="Search the rows"
          placeholder="Search the rows"
          value={search.value}
          onInput={(event) => {
            search.value = event.currentTarget.value;
          }}
        />
        <span class="soft small" role="status">
          {plural(found.length, "row")}
          {rows.value.rows.length === SHOWN_ROWS && `, of the first ${count(SHOWN_ROWS)}`}
        </span>
      </div>
      <Grid table={{ columns: rows.value.columns, rows: found }} label={`Rows of ${id}`} />
    </>
  );
}

function Empty() {
  return (
    <p class="empty">
      It holds no rows yet: procedures and plugins record into it, and so does{" "}
      <a href="/reference">POST {"/v1/datasets/<id>/multirows"}</a>.
    </p>
  );
}

interface ColumnProfile {
  name: string;
  kinds: string[];
  filled: number;
  distinct: number;
  low?: number;
  high?: number;
  mean?: number;
  bins?: number[];
  top: [unknown, number][];
}

interface Profile {
  total: number;
  rows: number;
  columns: ColumnProfile[];
}

/** `version` differs when the data have changed: the profile is asked for anew. */
function Columns({ id, version }: { id: string; version: number }) {
  const search = useSignal("");
  const page = useSignal(0);
  const profile = useSignal<Profile | undefined>(undefined);
  useEffect(() => {
    const stop = new AbortController();
    const timer = setTimeout(
      () => {
        const query = { search: search.value, offset: page.value * PAGE, limit: PAGE };
        json<Profile>("GET", `${path("datasets", id)}/profile`, { query, signal: stop.signal }).then((found) => {
          profile.value = found;
        }, complain);
      },
      profile.peek() ? PAUSE_MS : 0,
    );
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [id, search.value, page.value, version, profile]);
  if (!profile.value) return <progress aria-label="Loading the columns" />;
  const { total, rows, columns } = profile.value;
  const pages = Math.ceil(total / PAGE);
  if (!total && !search.value) return <Empty />;
  return (
    <>
      <div class="row">
        <input
          type="search"
          class="grow"
          aria-label="Search the columns"
          placeholder="Search the columns"
          value={search.value}
          onInput={(event) => {
            search.value = event.currentTarget.value;
            page.value = 0;
          }}
        />
        <span class="soft small" role="status">
          {plural(total, "column")}; fill and distribution of {plural(rows, "row")}
        </span>
        {pages > 1 && (
          <>
            <button type="button" class="small" disabled={page.value === 0} onClick={() => (page.value -= 1)}>
              Previous
            </button>
            <button type="button" class="small" disabled={page.value >= pages - 1} onClick={() => (page.value += 1)}>
              Next
            </button>
          </>
        )}
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard */}
      <section class="card scroll-x" tabIndex={0} aria-label="Columns">
        <table class="list columns">
          <thead>
            <tr>
              <th>Column</th>
              <th>Type</th>
              <th>Filled</th>
              <th>Distinct</th>
              <th>Distribution</th>
              <th>Range or frequent values</th>
            </tr>
          </thead>
          <tbody>
            {columns.map((column) => (
              <ColumnRow key={column.name} column={column} />
            ))}
          </tbody>
        </table>
      </section>
    </>
  );
}

function ColumnRow({
  column: { name, kinds, filled, distinct, low, high, mean, bins, top },
}: {
  column: ColumnProfile;
}) {
  const numeric = bins !== undefined && low !== undefined && high !== undefined && mean !== undefined;
  const heights = bins ?? top.map(([, times]) => times);
  return (
    <tr>
      <td>{name}</td>
      <td>
        <code>{kinds.join(", ") || "none"}</code>
      </td>
      <td>
        {Math.round(filled * 100)} %<span class="on-phone soft"> filled</span>
        <svg class="fill-bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
          <rect class="all" width="100" height="6" rx="3" />
          <rect width={filled * 100} height="6" rx="3" />
        </svg>
      </td>
      <td class="number" data-head="distinct">
        {count(distinct)}
      </td>
      <td>
        <Sparkline heights={heights} label={`Distribution of ${name}`} />
      </td>
      <td class="values">
        {numeric && low === high
          ? `always ${short(low)}`
          : numeric
            ? `${short(low)} … ${short(high)}, mean ${short(mean)}`
            : top
                .map(([value, times]) => `${typeof value === "string" ? value : JSON.stringify(value)} (${times})`)
                .join(", ")}
      </td>
    </tr>
  );
}

const short = (number: number) => Number(number.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 });

function Sparkline({ heights, label }: { heights: number[]; label: string }) {
  const highest = Math.max(1, ...heights);
  const width = 100 / Math.max(1, heights.length);
  return (
    <svg class="spark" viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label={label}>
      {heights.map((height, index) => {
        const tall = (height / highest) * 20;
        return <rect key={index} x={index * width} y={20 - tall} width={width * 0.85} height={tall} />;
      })}
    </svg>
  );
}
