// The output of a function for people: numbers and texts, bars where several numbers stand beside each other, pictures.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { imageSource } from "../pages/query/images";
import { isObject } from "./form/schema";
import { number } from "./format";
import "./result.css";

const SHOWN = 12;
const VECTOR = 24; // more numbers in a list than this are drawn, not written

interface OutputProps {
  value: unknown;
  name?: string;
  /** Numbers beside each other are unlike things: no bars. */
  plain?: boolean;
}

export function Output({ value, name = "", plain = false }: OutputProps) {
  const picture = imageSource(value);
  if (picture) {
    return (
      <Named name={name}>
        <img class="output-picture" src={picture} alt={name || "result"} />
      </Named>
    );
  }
  if (typeof value === "number") {
    return (
      <Named name={name}>
        <span class={plain ? "output-plain" : "output-number"}>{number(value)}</span>
      </Named>
    );
  }
  if (Array.isArray(value) && value.length > 1 && value.flat(3).every((each) => typeof each === "number")) {
    return (
      <Named name={name}>
        <Vector numbers={value.flat(3) as number[]} />
      </Named>
    );
  }
  if (isObject(value) && "ts" in value) return <Plain name={name} text={String(value.ts)} />;
  if (isObject(value) && "blob" in value) return <Plain name={name} text="bytes that are no picture" />;
  if (isObject(value)) return <Members name={name} value={value} plain={plain} />;
  return <Plain name={name} text={typeof value === "string" ? value : JSON.stringify(value ?? null)} />;
}

function Named({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div class="output">
      {name && <div class="output-name">{label(name)}</div>}
      {children}
    </div>
  );
}

function Plain({ name, text }: { name: string; text: string }) {
  return (
    <Named name={name}>
      <span class="output-text">{text}</span>
    </Named>
  );
}

function Members({ name, value, plain }: { name: string; value: Record<string, unknown>; plain: boolean }) {
  const entries = Object.entries(value);
  const numbers = !plain && entries.length > 1 && entries.every(([, each]) => typeof each === "number");
  if (!entries.length) return <Plain name={name} text="nothing" />;
  return (
    <Named name={name}>
      {numbers ? (
        <Bars values={entries as [string, number][]} />
      ) : (
        <div class="output-members">
          {entries.map(([each, inner]) => (
            <Output key={each} name={each} value={inner} plain={plain} />
          ))}
        </div>
      )}
    </Named>
  );
}

interface BarsProps {
  values: [string, number][];
  /** The order is as given, not by size. */
  ordered?: boolean;
}

/** Numbers by name, largest first; negative ones go to the other side. */
export function Bars({ values, ordered = false }: BarsProps) {
  const all = useSignal(false);
  const sorted = ordered ? values : [...values].sort((a, b) => b[1] - a[1]);
  const most = Math.max(...values.map(([, each]) => Math.abs(each)), Number.MIN_VALUE);
  const shown = all.value ? sorted : sorted.slice(0, SHOWN);
  const negative = values.some(([, each]) => each < 0);
  return (
    <>
      <table class="bars">
        <tbody>
          {shown.map(([name, each]) => (
            <tr key={name}>
              <th scope="row" title={label(name)}>
                {label(name)}
              </th>
              <td class="bar">
                <svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
                  <Bar share={each / most} negative={negative} />
                </svg>
              </td>
              <td class="number">{number(each)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {sorted.length > SHOWN && (
        <button
          type="button"
          class="small quiet"
          onClick={() => {
            all.value = !all.value;
          }}
        >
          {all.value ? "Only the first" : `All ${sorted.length}`}
        </button>
      )}
    </>
  );
}

function Bar({ share, negative }: { share: number; negative: boolean }) {
  const room = negative ? 50 : 100;
  const width = Math.abs(share) * room;
  return <rect class={share < 0 ? "below" : ""} x={share < 0 ? room - width : 100 - room} width={width} height="10" />;
}

function Vector({ numbers }: { numbers: number[] }) {
  if (numbers.length <= VECTOR) return <span class="mono">[{numbers.map(number).join(", ")}]</span>;
  const low = Math.min(0, ...numbers);
  const high = Math.max(0, ...numbers);
  const scale = (each: number) => 40 - ((each - low) / (high - low || 1)) * 40;
  const points = numbers.map((each, index) => `${(index / (numbers.length - 1)) * 400},${scale(each)}`).join(" ");
  return (
    <figure class="vector">
      <svg viewBox="0 0 400 40" preserveAspectRatio="none" role="img" aria-label={`${numbers.length} numbers`}>
        <polyline points={points} />
      </svg>
      <figcaption class="small soft">
        {numbers.length} numbers from {number(Math.min(...numbers))} to {number(Math.max(...numbers))}
      </figcaption>
    </figure>
  );
}

/** Names of scores are the JSON texts of labels. */
export function label(name: string): string {
  if (!/^".*"$/.test(name)) return name;
  try {
    return String(JSON.parse(name));
  } catch {
    return name;
  }
}
