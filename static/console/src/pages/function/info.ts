// What a function takes, as its `/info` tells it, made into the fields of a form and the SQL of a call.
import { json, path, sqlName } from "../../api";
import { type FieldInfo, LOOSE, type TypeInfo } from "../../ui/form/schema";

export interface ValueInfo {
  kind?: "row" | "scalar" | "embedding";
  scalar?: string;
  shape?: number[];
  hasUnknownColumns?: boolean;
  knownColumns?: { columnName: string; valueInfo: ValueInfo }[];
}

export interface FunctionInfo {
  input: ValueInfo[];
  output: ValueInfo;
}

export function functionInfo(id: string): Promise<FunctionInfo> {
  return json("GET", `${path("functions", id)}/info`);
}

const columnsOf = (info: ValueInfo | undefined) => info?.knownColumns ?? [];

/** Known inputs as fields; all may be left out, as a function takes what it is given. */
export function fieldsOf(info: ValueInfo | undefined): FieldInfo[] {
  return columnsOf(info).map(({ columnName, valueInfo }) => ({
    name: columnName,
    comment: kindOf(valueInfo),
    type: typeOf(valueInfo),
    default: null,
  }));
}

const SCALARS: Record<string, TypeInfo["kind"]> = {
  integer: "INTEGER",
  float: "FLOAT",
  string: "STRING",
  boolean: "BOOLEAN",
};

function typeOf(info: ValueInfo): TypeInfo {
  if (info.kind === "row" && columnsOf(info).length) {
    return { kind: "STRUCTURE", typeName: "row", fields: fieldsOf(info) };
  }
  const kind = (info.kind === "scalar" && SCALARS[info.scalar ?? ""]) || "ANY";
  if (kind === "ANY" && info.kind !== "row" && info.kind !== "embedding") return { kind, typeName: LOOSE };
  return { kind, typeName: info.scalar ?? "any" };
}

export function kindOf(info: ValueInfo): string {
  if (info.kind === "row") return columnsOf(info).length ? "" : "any columns";
  if (info.kind === "embedding") return `${info.shape?.join(" × ") ?? ""} numbers`;
  return info.kind === "scalar" ? (info.scalar ?? "") : "any value";
}

/** Leaves of a row as `[path, kind]`, in order. */
export function leaves(info: ValueInfo | undefined, prefix = ""): [string, string][] {
  return columnsOf(info).flatMap(({ columnName, valueInfo }): [string, string][] =>
    columnsOf(valueInfo).length
      ? leaves(valueInfo, `${prefix}${columnName}.`)
      : [[prefix + columnName, kindOf(valueInfo)]],
  );
}

/**
 * The argument that makes a dataset's row the input: a function that takes one row of features is given the row there,
 * any other has the columns themselves.
 */
export function argumentOf(info: ValueInfo | undefined): string {
  const rows = columnsOf(info).filter(({ valueInfo }) => valueInfo.kind === "row");
  const only = rows.length === 1 ? rows[0] : undefined;
  if (!only) return "{*}";
  const inner = columnsOf(only.valueInfo).map(({ columnName }) => sqlName(columnName));
  const others = columnsOf(info)
    .filter((column) => column !== only)
    .map(({ columnName }) => sqlName(columnName));
  return `{${[`{${inner.join(", ") || "*"}} AS ${sqlName(only.columnName)}`, ...others].join(", ")}}`;
}

/** Whether a picture may be among the inputs: a classifier of numbers takes none. */
export function mayTakePicture(info: ValueInfo | undefined): boolean {
  const kinds = leaves(info).map(([, kind]) => kind);
  return !kinds.length || kinds.some((kind) => !/^(float|integer|boolean|timestamp|\d.* numbers)$/.test(kind));
}

/** The input that an address or the bytes of a picture go into, if there is one. */
export function pictureInput(info: ValueInfo | undefined): { name: string; blob: boolean } | undefined {
  const columns = columnsOf(info);
  const blob = columns.find(({ valueInfo }) => valueInfo.scalar === "blob");
  if (blob) return { name: blob.columnName, blob: true };
  const named = columns.find(
    ({ columnName, valueInfo }) => /url|image|picture|content/i.test(columnName) && valueInfo.kind !== "row",
  );
  return named && { name: named.columnName, blob: /content|image|picture/i.test(named.columnName) };
}
