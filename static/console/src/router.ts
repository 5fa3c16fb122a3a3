// Client-side routing with real URLs: the server answers every path below / and /console with the same page.
import { computed, signal } from "@preact/signals";
import { type Page, pages } from "./pages";

export const location = signal(here());

function here(): URL {
  return new URL(window.location.href);
}

export interface Match {
  page: Page;
  params: Record<string, string>;
}

/** The page of the address, and the named parts of its path; `undefined` for an address that no page has. */
export const match = computed<Match | undefined>(() => find(location.value.pathname));

function find(pathname: string): Match | undefined {
  const given = pathname.replace(/\/+$/, "").split("/");
  for (const page of pages) {
    const params = compare(page.path.replace(/\/+$/, "").split("/"), given);
    if (params) return { page, params };
  }
  return undefined;
}

function compare(wanted: string[], given: string[]): Record<string, string> | undefined {
  if (wanted.length !== given.length) return undefined;
  const params: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const text = given[index] ?? "";
    if (part.startsWith(":")) params[part.slice(1)] = decodeURIComponent(text);
    else if (part !== text) return undefined;
  }
  return params;
}

/** The address of a page: `link("/console/datasets/:id", { id })`. */
export function link(pattern: string, params: Record<string, string>): string {
  return pattern.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name] ?? ""));
}

interface Way {
  replace?: boolean;
  /** What the next page is told beside its address: nothing that a link from elsewhere could say. */
  state?: unknown;
}

export function navigate(to: string, { replace = false, state = null }: Way = {}): void {
  if (replace) history.replaceState(state, "", to);
  else history.pushState(state, "", to);
  location.value = here();
}

/** Change the query of the address without a new entry in the history; an empty value takes the name out. */
export function setQuery(values: Record<string, string>): void {
  const url = here();
  for (const [name, value] of Object.entries(values)) {
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  }
  navigate(url.pathname + url.search + url.hash, { replace: true });
}

/** Take over the links between our own pages; all others stay the browser's. */
export function route(): void {
  window.addEventListener("popstate", () => {
    location.value = here();
  });
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
      return;
    const anchor = (event.target as Element).closest?.("a");
    if (!anchor || anchor.target || anchor.hasAttribute("download")) return;
    const url = new URL(anchor.href);
    if (url.origin !== window.location.origin || !find(url.pathname)) return;
    if (url.hash && url.pathname === window.location.pathname && url.search === window.location.search) return;
    event.preventDefault();
    navigate(url.pathname + url.search + url.hash);
  });
}
