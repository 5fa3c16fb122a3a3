// The pages of the console. To add one: write `pages/<name>.tsx` with a default export `({ params }) => JSX`, and give
// it a row here. `load` makes a chunk of its own, so a page costs nothing until it is opened. See ../../README.md.
import type { ComponentType } from "preact";
import type { Kind } from "../live";

export type PageComponent = ComponentType<{ params: Record<string, string> }>;

export interface Page {
  /** Path of the address; `:name` takes one part of it, handed to the page in `params`. */
  path: string;
  /** Shown in the browser's title. */
  title: string;
  load: () => Promise<{ default: PageComponent }>;
  /** The entry of the navigation that is marked while the page is open. */
  under?: string;
}

export const pages: Page[] = [
  { path: "/", title: "Plugins", load: () => import("./plugins"), under: "/" },
  { path: "/console", title: "Plugins", load: () => import("./plugins"), under: "/" },
  { path: "/console/query", title: "Query", load: () => import("./query"), under: "/console/query" },
  { path: "/console/datasets", title: "Datasets", load: () => import("./datasets"), under: "/console/datasets" },
  { path: "/console/datasets/:id", title: "Dataset", load: () => import("./dataset"), under: "/console/datasets" },
  { path: "/console/functions", title: "Functions", load: () => import("./functions"), under: "/console/functions" },
  { path: "/console/functions/:id", title: "Function", load: () => import("./function"), under: "/console/functions" },
  {
    path: "/console/new/plugin",
    title: "New plugin",
    load: () => import("./create").then(({ NewPlugin }) => ({ default: NewPlugin })),
    under: "/",
  },
  {
    path: "/console/new/dataset",
    title: "New dataset",
    load: () => import("./create").then(({ NewDataset }) => ({ default: NewDataset })),
    under: "/console/datasets",
  },
  {
    path: "/console/new/function",
    title: "New function",
    load: () => import("./create").then(({ NewFunction }) => ({ default: NewFunction })),
    under: "/console/functions",
  },
  {
    path: "/console/new/procedure",
    title: "New procedure",
    load: () => import("./create").then(({ NewProcedure }) => ({ default: NewProcedure })),
    under: "/console/procedures",
  },
  { path: "/console/compare", title: "Comparison", load: () => import("./compare"), under: "/console/procedures" },
  {
    path: "/console/procedures",
    title: "Procedures",
    load: () => import("./procedures"),
    under: "/console/procedures",
  },
  {
    path: "/console/procedures/:id",
    title: "Procedure",
    load: () => import("./procedure"),
    under: "/console/procedures",
  },
  {
    path: "/console/procedures/:id/runs/:run",
    title: "Run",
    load: () => import("./run"),
    under: "/console/procedures",
  },
];

export interface Entry {
  label: string;
  href: string;
  /** Entities whose number is shown beside the label. */
  count?: Kind;
}

/** The navigation, in order. Addresses that are no page of the console are left to the browser. */
export const navigation: Entry[] = [
  { label: "Plugins", href: "/", count: "plugin" },
  { label: "Query", href: "/console/query" },
  { label: "Datasets", href: "/console/datasets", count: "dataset" },
  { label: "Functions", href: "/console/functions", count: "function" },
  { label: "Procedures", href: "/console/procedures", count: "procedure" },
  { label: "Logs", href: "/logs/mldb" },
  { label: "API", href: "/reference" },
  { label: "Docs", href: "/doc/" },
];
