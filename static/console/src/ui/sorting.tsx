// Lists that are sorted by what a column shows. The address remembers it: `?sort=rows`, downwards `?sort=-rows`.
import { location, setQuery } from "../router";

export type Sortable = string | number | undefined;

/** What the items of a list can be sorted by, under the head of its column. */
export interface Key<T> {
  head: string;
  by: (item: T) => Sortable;
}

const { compare } = new Intl.Collator("en", { numeric: true });

/** Items in order; those without a value come last either way. */
export function inOrder<T>(items: readonly T[], by: (item: T) => Sortable, descending: boolean): T[] {
  const sign = descending ? -1 : 1;
  return items
    .map((item) => [by(item), item] as const)
    .sort(([a], [b]) => {
      if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
      return sign * (typeof a === "number" && typeof b === "number" ? a - b : compare(String(a), String(b)));
    })
    .map(([, item]) => item);
}

export type Direction = "ascending" | "descending" | undefined;

/** First upwards, then downwards, then as it was given. */
export const turned = (direction: Direction): Direction =>
  direction === "ascending" ? "descending" : direction === "descending" ? undefined : "ascending";

const word = (head: string) => head.toLowerCase();

function directionOf(head: string): Direction {
  const order = location.value.searchParams.get("sort");
  if (order === word(head)) return "ascending";
  return order === `-${word(head)}` ? "descending" : undefined;
}

/** The items as the address wants them; as they are where it does not say. */
export function sorted<T>(items: T[], keys: Key<T>[]): T[] {
  const key = keys.find(({ head }) => directionOf(head));
  return key ? inOrder(items, key.by, directionOf(key.head) === "descending") : items;
}

interface SortButtonProps {
  head: string;
  direction: Direction;
  onClick: () => void;
}

export function SortButton({ head, direction, onClick }: SortButtonProps) {
  return (
    <button type="button" class="sort" title={`Sort by ${head}`} onClick={onClick}>
      {head}
      {direction && <span aria-hidden="true">{direction === "descending" ? " ↓" : " ↑"}</span>}
    </button>
  );
}

function turn(head: string): void {
  const next = turned(directionOf(head));
  setQuery({ sort: next ? (next === "descending" ? "-" : "") + word(head) : "" });
}

/** The head of a column that a list can be sorted by. */
export function SortHead({ head, number = false }: { head: string; number?: boolean }) {
  const direction = directionOf(head);
  return (
    <th class={number ? "number" : ""} aria-sort={direction}>
      <SortButton head={head} direction={direction} onClick={() => turn(head)} />
    </th>
  );
}

/** The same where there are no columns. */
export function SortBy<T>({ keys }: { keys: Key<T>[] }) {
  return (
    <fieldset class="row sort-by small">
      <legend class="visually-hidden">Sort by</legend>
      <span class="soft" aria-hidden="true">
        Sort by
      </span>
      {keys.map(({ head }) => {
        const direction = directionOf(head);
        return (
          <span key={head}>
            <SortButton head={head} direction={direction} onClick={() => turn(head)} />
            {direction && <span class="visually-hidden">{direction}</span>}
          </span>
        );
      })}
    </fieldset>
  );
}
