// What is compared: runs with their folds, as the server tells of them.
import { ApiError, json, path } from "../../api";
import type { Run } from "../../live";
import { namesOf } from "../../ui/compared";
import { isObject, type Json } from "../../ui/form/schema";
import { withRun } from "../../ui/runs";
import type { Experiment } from "../run/experiment";
import { at, type Measure } from "../run/measures";

export interface Part {
  name: string;
  statistics: unknown;
  /** The dataset of scored rows; "" without one. */
  dataset: string;
  /** Seconds that the training took. */
  training?: number;
}

export interface Compared {
  key: string;
  procedure: string;
  run: string;
  type: string;
  /** Why there is nothing to compare; "" when there is. */
  problem: string;
  /** Seconds since 1970. */
  started?: number;
  params: Json;
  /** Folds of an experiment, or the one test. */
  parts: Part[];
  /** Of all folds: each number as its mean and deviation. */
  aggregated?: unknown;
}

interface Told {
  state: Run["state"];
  status?: unknown;
  runStarted?: string;
}

/** `live` is the run as the stream tells of it, with parameters that are its own. */
export async function compared(key: string, live: Run | undefined): Promise<Compared> {
  const { procedure, run } = namesOf(key);
  const nothing = { key, procedure, run, type: "", params: {}, parts: [] };
  try {
    const [told, { type, config }] = await Promise.all([
      json<Told>("GET", path("procedures", procedure, "runs", run)),
      json<{ type: string; config: { params?: Json } }>("GET", path("procedures", procedure)),
    ]);
    const params = withRun(config.params, live?.params);
    const started = told.runStarted ? Date.parse(told.runStarted) / 1000 : live?.started;
    const known = { ...nothing, type, params, started };
    if (told.state !== "finished") return { ...known, problem: STATES[told.state] };
    const parts = partsOf(type, params, told.status);
    return parts.length
      ? { ...known, problem: "", parts, aggregated: aggregated(type, told.status) }
      : { ...known, problem: `runs of ${type} have no measures` };
  } catch (error) {
    if (error instanceof ApiError && error.status === 404)
      return { ...nothing, problem: "there is no such run any more" };
    throw error;
  }
}

const STATES = {
  initializing: "has not begun yet",
  executing: "still at work",
  cancelled: "was cancelled",
  error: "failed",
  finished: "",
} as const;

function partsOf(type: string, params: Json, status: unknown): Part[] {
  if (type === "classifier.test") {
    const { outputDataset } = params;
    const dataset = isObject(outputDataset) ? outputDataset.id : outputDataset;
    return [{ name: "", statistics: status, dataset: typeof dataset === "string" ? dataset : "" }];
  }
  if (type !== "classifier.experiment") return [];
  return (status as Experiment).folds.map(({ resultsTest, accuracyDataset, durationSecs }, index) => ({
    name: `Fold ${index + 1}`,
    statistics: resultsTest,
    dataset: accuracyDataset ?? "",
    training: durationSecs.train,
  }));
}

const aggregated = (type: string, status: unknown) =>
  type === "classifier.experiment" && (status as Experiment).folds.length > 1
    ? (status as Experiment).aggregatedTest
    : undefined;

/** A measure of a run: of its one test, or the mean over folds with the deviation. */
export function measured(run: Compared, measure: Measure): { value: number; deviation?: number } | undefined {
  if (run.aggregated) {
    const spread = at(run.aggregated, measure) as { mean: number; std: number } | undefined;
    return spread && { value: spread.mean, deviation: spread.std };
  }
  const value = at(run.parts[0]?.statistics, measure);
  return typeof value === "number" ? { value } : undefined;
}

/** Seconds that all trainings of a run took. */
export function training({ parts }: Compared): number | undefined {
  const took = parts.flatMap(({ training: seconds }) => seconds ?? []);
  return took.length ? took.reduce((sum, each) => sum + each, 0) : undefined;
}

// Where a run leaves what it makes says nothing of how it was made.
const OUTPUTS = /^(experimentName|functionName|modelFileUrl(Pattern)?|outputDataset|runOnCreation)\b/;

/** Parameters in which runs differ, nested ones by their path, with the value of each run. */
export function differences(runs: Compared[]): [string, unknown[]][] {
  const flat = runs.map(({ params }) => new Map(flattened(params)));
  const names = [...new Set(flat.flatMap((each) => [...each.keys()]))].filter((name) => !OUTPUTS.test(name)).sort();
  return names
    .map((name): [string, unknown[]] => [name, flat.map((each) => each.get(name))])
    .filter(([, values]) => new Set(values.map((value) => JSON.stringify(value))).size > 1);
}

const flattened = (value: Json, under = ""): [string, unknown][] =>
  Object.entries(value).flatMap(([name, inner]) =>
    isObject(inner) ? flattened(inner, `${under}${name}.`) : [[under + name, inner] as [string, unknown]],
  );
