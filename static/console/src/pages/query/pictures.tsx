// The pictures of a result: every value that is one, and those that the server can fetch.
import { useSignal } from "@preact/signals";
import { attempt } from "../../toasts";
import { cellText, type Table } from "./grid";
import { fetched, imageSource, isImageUrl } from "./images";

const MOST = 200;

export function Pictures({ table: { rows } }: { table: Table }) {
  const found = rows
    .flatMap((row) => row.map((value) => ({ name: cellText(row[0]), value })))
    .filter(({ value }) => imageSource(value) || isImageUrl(value))
    .slice(0, MOST);
  if (!found.length) return <p class="empty">No value of this result is a picture, or the address of one.</p>;
  return (
    <ul class="pictures">
      {found.map(({ name, value }, index) => (
        <li key={index}>
          <Picture name={name} value={value} />
        </li>
      ))}
    </ul>
  );
}

function Picture({ name, value }: { name: string; value: unknown }) {
  const source = useSignal(imageSource(value));
  if (source.value) {
    return (
      <figure>
        <img src={source.value} alt={name} />
        <figcaption class="small soft">{name}</figcaption>
      </figure>
    );
  }
  const load = () =>
    attempt(async () => {
      source.value = await fetched(String(value));
      if (!source.value) throw new Error(`${value} is no picture that can be shown`);
    });
  return (
    <button type="button" class="address" title={String(value)} onClick={load}>
      Fetch {String(value).split("/").pop()}
    </button>
  );
}
