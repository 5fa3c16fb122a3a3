// Calls of the server's REST API, with its one error body as the one exception.

/** The canonical error body of the server. */
export interface ErrorBody {
  error: string;
  httpCode?: number;
  details?: unknown;
}

/** Thrown by every call that the server refused, or that did not reach it (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly body: ErrorBody,
    readonly request: string,
  ) {
    super(told(body));
  }

  /** A member of `details`, when there is an object of them. */
  detail(name: string): unknown {
    const { details } = this.body;
    return details && typeof details === "object" ? (details as Record<string, unknown>)[name] : undefined;
  }
}

/** What went wrong: of a procedure whose first run failed that run's error, of a file the line. */
function told({ error, details }: ErrorBody): string {
  const { runError, lineNumber } = (details ?? {}) as { runError?: ErrorBody; lineNumber?: number };
  if (runError) return told(runError);
  return lineNumber === undefined ? error : `Line ${lineNumber}: ${error}`;
}

export interface CallOptions {
  query?: Record<string, string | number | boolean | undefined>;
  json?: unknown;
  body?: BodyInit;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** The URL path of an entity or what lies below it; every part is escaped. */
export function path(...parts: string[]): string {
  return `/v1/${parts.map(encodeURIComponent).join("/")}`;
}

export async function call(verb: string, url: string, options: CallOptions = {}): Promise<Response> {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(options.query ?? {})) {
    if (value !== undefined) params.set(name, String(value));
  }
  const target = params.size ? `${url}?${params}` : url;
  const headers = { ...options.headers };
  let body = options.body;
  if (options.json !== undefined) {
    headers["content-type"] = "application/json";
    body = JSON.stringify(options.json);
  }
  let answer: Response;
  try {
    answer = await fetch(target, { method: verb, headers, body, signal: options.signal });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, { error: "the server cannot be reached" }, `${verb} ${url}`);
  }
  if (!answer.ok) throw new ApiError(answer.status, await errorBody(answer), `${verb} ${url}`);
  return answer;
}

async function errorBody(answer: Response): Promise<ErrorBody> {
  const text = await answer.text();
  try {
    const body = JSON.parse(text);
    if (typeof body?.error === "string") return body;
  } catch {
    // Some read routes answer in plain text, as MLDB's do.
  }
  return { error: text.trim() || `${answer.status} ${answer.statusText}`, httpCode: answer.status };
}

/** The JSON of an answer; `undefined` when it is empty. */
export async function json<T>(verb: string, url: string, options?: CallOptions): Promise<T> {
  const text = await (await call(verb, url, options)).text();
  return (text ? JSON.parse(text) : undefined) as T;
}

/** Rows of a query: a list of column names, then lists of values. For what is small. */
export async function table(q: string, signal?: AbortSignal): Promise<{ columns: string[]; rows: unknown[][] }> {
  const [columns = [], ...rows] = await json<unknown[][]>("GET", "/v1/query", {
    query: { q, format: "table" },
    signal,
  });
  return { columns: columns as string[], rows };
}

/** Upload with progress in bytes: `fetch` cannot tell how much has been sent. */
export function upload<T>(
  verb: string,
  url: string,
  content: Blob,
  onProgress: (sent: number) => void,
  signal?: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(verb, url);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.onprogress = (event) => onProgress(event.loaded);
    request.onerror = () => reject(new ApiError(0, { error: "the server cannot be reached" }, `${verb} ${url}`));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    request.onload = async () => {
      const answer = new Response(request.responseText, { status: request.status, statusText: request.statusText });
      if (answer.ok) resolve((request.responseText ? JSON.parse(request.responseText) : undefined) as T);
      else reject(new ApiError(request.status, await errorBody(answer), `${verb} ${url}`));
    };
    signal?.addEventListener("abort", () => request.abort());
    request.send(content);
  });
}

// Words of the grammar, and beginnings that it takes for literals.
const RESERVED =
  /^(?:(?:select|from|where|when|group|by|having|order|limit|offset|named|as|and|or|not|is|in|between|like|asc|desc|join|inner|left|right|full|outer|on|excluding|then|else|end)$|true|false|null|nan|inf|interval|cast|case)/i;

/** SQL spelling of a name that is quoted when it must be. */
export function sqlName(name: string): string {
  const bare = /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !RESERVED.test(name);
  return bare ? name : `"${name.replaceAll('"', '""')}"`;
}

/** SQL spelling of a text. */
export function sqlText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
