// Why the server cannot compile a query: asked while one types it.
import { ApiError, type ErrorBody, json } from "../api";

/** Undefined when it can, or when nobody can tell. */
export async function refused(q: string): Promise<ApiError | undefined> {
  if (!q.trim()) return undefined;
  const url = "/v1/query/check";
  const { error } = await json<{ error: ErrorBody | null }>("GET", url, { query: { q } }).catch(() => ({
    error: null,
  }));
  return error ? new ApiError(400, error, `GET ${url}`) : undefined;
}
