// Parameter types as `/v1/types` describes them, and the plain JSON of a configuration that forms work on.
import type { ApiError, ErrorBody } from "../../api";

export interface TypeInfo {
  kind:
    | "ATOM"
    | "INTEGER"
    | "FLOAT"
    | "BOOLEAN"
    | "STRING"
    | "ENUM"
    | "OPTIONAL"
    | "ARRAY"
    | "STRUCTURE"
    | "TUPLE"
    | "VARIANT"
    | "MAP"
    | "ANY";
  /** `InputQuery`, `OutputDataset`, `Dataset` and `SqlExpression` say more than the kind. */
  typeName: string;
  values?: string[];
  inner?: TypeInfo[];
  fields?: FieldInfo[];
}

export interface FieldInfo {
  name: string;
  comment: string;
  type: TypeInfo;
  /** What counts where the field is left out; a field without a default is required. */
  default?: unknown;
}

export interface EntityTypeInfo {
  configType: TypeInfo;
  description: string;
  docRoute: string;
}

export type Json = Record<string, unknown>;

export const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

export const required = (field: FieldInfo) => !("default" in field);

/** The type itself, when it may also be left out. */
export function bare(type: TypeInfo): TypeInfo {
  return type.kind === "OPTIONAL" && type.inner?.[0] ? bare(type.inner[0]) : type;
}

/** An object with one member changed; `undefined` takes it out. */
export function withMember(object: Json, name: string, value: unknown): Json {
  const { [name]: _, ...others } = object;
  return value === undefined ? others : name in object ? { ...object, [name]: value } : { ...others, [name]: value };
}

/** What people should fill in first: the rest has defaults that usually do. */
export function essential(field: FieldInfo): boolean {
  return required(field) || field.default === null || /^(InputQuery|OutputDataset|Dataset)$/.test(field.type.typeName);
}

/** The text of a query in a parameter: SQL, or the object form's parts that matter. */
export const isSql = ({ typeName }: TypeInfo) => typeName === "InputQuery" || typeName === "SqlExpression";

/** The type of a value that may be a text as well as JSON. */
export const LOOSE = "text or JSON";

export interface Placed {
  /** Dotted path of the field; "" for an error of the whole configuration. */
  field: string;
  text: string;
  error: ApiError;
}

/** Which field an error of the server speaks of: its `details.field`, the SQL text it begins with, a name it quotes. */
export function place(error: ApiError, fields: FieldInfo[], params: Json): Placed {
  const run = error.detail("runError") as ErrorBody | undefined;
  const text = run?.error ?? error.message;
  const named = error.detail("field");
  if (typeof named === "string") return { field: named, text, error };
  const sql = fields.find(({ name }) => typeof params[name] === "string" && text.startsWith(`${params[name]}:`));
  if (sql) return { field: sql.name, text: text.replace(`${params[sql.name]}:`, "line "), error };
  const quoted = [...text.matchAll(/['"`]([\w.]+)['"`]/g)].map((found) => (found[1] as string).split(".")[0]);
  return { field: fields.find(({ name }) => quoted.includes(name))?.name ?? "", text, error };
}

/** The error of a field or of what lies below it, of a part that has no input of its own. */
export function under(placed: Placed | undefined, path: string): Placed | undefined {
  return placed && (placed.field === path || placed.field.startsWith(`${path}.`)) ? placed : undefined;
}

/** What must be given and what data to take before the rest; within these in the order of the declaration. */
export function needed(fields: FieldInfo[]): FieldInfo[] {
  const rank = (field: FieldInfo) => (required(field) ? 0 : bare(field.type).typeName === "InputQuery" ? 1 : 2);
  return [...fields].sort((one, other) => rank(one) - rank(other));
}
