// Pictures in results: blobs and data: URLs at once, our own URLs as they are; others only through the server.
import { sqlText, table } from "../../api";

const MAGIC: [number[], string][] = [
  [[0xff, 0xd8, 0xff], "image/jpeg"],
  [[0x89, 0x50, 0x4e, 0x47], "image/png"],
  [[0x47, 0x49, 0x46, 0x38], "image/gif"],
  [[0x52, 0x49, 0x46, 0x46], "image/webp"],
];

/** The bytes of a blob as MLDB's JSON writes them: runs of text, and numbers. */
export function blobBytes(value: unknown): Uint8Array | undefined {
  if (!value || typeof value !== "object" || !("blob" in value) || !Array.isArray(value.blob)) return undefined;
  const bytes: number[] = [];
  for (const run of value.blob) {
    if (typeof run === "number") bytes.push(run);
    else for (const character of String(run)) bytes.push(character.charCodeAt(0) & 0xff);
  }
  return Uint8Array.from(bytes);
}

const made = new WeakMap<object, string>();

/** What an `img` can show without leaving this server; "" for what is no picture. */
export function imageSource(value: unknown): string {
  if (typeof value === "string") {
    if (/^data:image\/(png|jpeg|gif|webp);base64,/.test(value)) return value;
    return value.startsWith("/v1/") && isImageUrl(value) ? value : "";
  }
  if (!value || typeof value !== "object" || !("blob" in value)) return "";
  const known = made.get(value);
  if (known !== undefined) return known;
  const source = dataUrl(blobBytes(value));
  made.set(value, source);
  return source;
}

export function dataUrl(bytes: Uint8Array | undefined): string {
  const kind = bytes && MAGIC.find(([magic]) => magic.every((byte, index) => bytes[index] === byte))?.[1];
  if (!bytes || !kind) return "";
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return `data:${kind};base64,${btoa(text)}`;
}

export function isImageUrl(value: unknown): value is string {
  return typeof value === "string" && /\.(jpe?g|png|gif|webp)(\?.*)?$/i.test(value);
}

/** A picture by the server's fetcher, under its rules: the page itself loads nothing from elsewhere. */
export async function fetched(url: string): Promise<string> {
  const { rows } = await table(`SELECT fetcher(${sqlText(url)})[content] AS content`);
  return dataUrl(blobBytes(rows[0]?.at(-1)));
}
