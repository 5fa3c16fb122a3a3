// One run: its steps while it works, then its result with a report, or why it failed.
import { type Signal, useSignal } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect } from "preact/hooks";
import { ApiError, type ErrorBody, json, path } from "../api";
import { entity, loaded, type Run, type Step } from "../live";
import { link } from "../router";
import { attempt, complain } from "../toasts";
import { compareLink, measures, moment, runKey } from "../ui/compared";
import { JsonBlock } from "../ui/copy";
import { isObject, type Json } from "../ui/form/schema";
import { count, seconds } from "../ui/format";
import { Crumbs, Loading } from "../ui/page";
import { Cancel, Change, isActive, RunState, Start, withRun } from "../ui/runs";
import type { ReportProps } from "./run/report";
import "./procedure/procedure.css";

interface Ended {
  state: Run["state"];
  status?: unknown;
  details?: unknown;
  progress?: { steps?: Step[]; exception?: ErrorBody };
  runStarted?: string;
  runFinished?: string;
}

export default function RunPage({ params: { id = "", run: name = "" } }: { params: Record<string, string> }) {
  const procedure = entity("procedure", id);
  const earlier = useSignal<Run | undefined>(undefined);
  const run = procedure?.runs?.find((each) => each.id === name) ?? earlier.value;
  if (!loaded.value) return <Loading />;
  return (
    <>
      <Crumbs kind="procedure" procedure={id} />
      <header class="page-head">
        <h1>{id}</h1>
        <code class="soft">{procedure?.type}</code>
        {run && <RunState state={run.state} />}
        {run && isActive(run) && <Cancel procedure={id} run={run} />}
        {procedure && run?.state === "finished" && measures(procedure) && (
          <a class="button small" href={compareLink([runKey(id, run.id)])}>
            Compare
          </a>
        )}
        {run?.state === "error" && procedure && <Change entity={procedure} small />}
        {run && procedure && !isActive(run) && <Start entity={procedure} label="Run again" small />}
      </header>
      {procedure && run ? (
        <div class="stack">
          <Times run={run} />
          {isActive(run) ? (
            <Working steps={run.progress?.steps ?? []} />
          ) : (
            <Done key={run.state} procedure={id} type={procedure.type} run={run} />
          )}
        </div>
      ) : (
        <Unseen procedure={id} run={name} found={earlier} />
      )}
    </>
  );
}

/** A run that the stream does not tell of: one that has just begun, one before the latest, or one that is gone. */
function Unseen({ procedure, run, found }: { procedure: string; run: string; found: Signal<Run | undefined> }) {
  const gone = useSignal(false);
  useEffect(() => {
    json<Ended>("GET", path("procedures", procedure, "runs", run)).then(
      (status) => {
        if (status.state !== "initializing" && status.state !== "executing") found.value = ended(run, status);
      },
      (error) => {
        if (error instanceof ApiError && error.status === 404) gone.value = true;
        else complain(error);
      },
    );
  }, [procedure, run, gone, found]);
  if (!gone.value) return <progress aria-label="Loading the run" />;
  return (
    <p class="empty">
      There is no such run any more; of each procedure the last ones are kept.{" "}
      <a href={link("/console/procedures/:id", { id: procedure })}>To the procedure</a>
    </p>
  );
}

/** A run as the stream would tell of it. A failed one does not say when it was. */
function ended(id: string, { state, runStarted, runFinished, progress }: Ended): Run {
  const time = (text?: string) => (text ? Date.parse(text) / 1000 : Number.NaN);
  return { id, state, started: time(runStarted), finished: time(runFinished), progress, error: progress?.exception };
}

function Times({ run }: { run: Run }) {
  const now = useSignal(Date.now() / 1000);
  useEffect(() => {
    if (run.finished !== undefined) return;
    const timer = setInterval(() => {
      now.value = Date.now() / 1000;
    }, 500);
    return () => clearInterval(timer);
  }, [run.finished, now]);
  if (Number.isNaN(run.started)) return null;
  const took = Math.max(0, (run.finished ?? now.value) - run.started);
  return (
    <p class="soft run-times">
      Started {moment(run.started)}, {run.finished === undefined ? "working for" : "took"} {seconds(took)}
    </p>
  );
}

function Working({ steps }: { steps: Step[] }) {
  return (
    <section class="card stack" aria-labelledby="steps-title">
      <h2 id="steps-title">Steps</h2>
      {steps.length ? <StepList steps={steps} /> : <progress aria-label="The run begins" />}
    </section>
  );
}

function StepList({ steps }: { steps: Step[] }) {
  return (
    <ol class="steps">
      {steps.map((step) => (
        <li key={step.name}>
          <span>{step.name}</span>
          <progress
            aria-label={step.name}
            value={step.ended ? 1 : step.type === "percentile" || !step.started ? step.value : undefined}
            max={1}
          />
          <span class="number">{stepText(step)}</span>
        </li>
      ))}
    </ol>
  );
}

function stepText({ type, value, started, ended }: Step): string {
  if (started && ended) return seconds(Math.max(0, Date.parse(ended) - Date.parse(started)) / 1000);
  return type === "percentile" ? `${Math.round(value * 100)} %` : count(value);
}

function Done({ procedure, type, run }: { procedure: string; type: string; run: Run }) {
  const ended = useSignal<Ended | undefined>(undefined);
  const params = useSignal<Json | undefined>(undefined);
  useEffect(() => {
    attempt(async () => {
      const url = path("procedures", procedure, "runs", run.id);
      const [status, { config }] = await Promise.all([
        json<Ended>("GET", url),
        json<{ config: { params?: Json } }>("GET", path("procedures", procedure)),
      ]);
      params.value = withRun(config.params, run.params);
      ended.value = status;
      const details = await json<unknown>("GET", `${url}/details`);
      if (details !== null) ended.value = { ...status, details };
    });
  }, [procedure, run.id, run.params, ended, params]);
  if (!ended.value || !params.value) return <progress aria-label="Loading the run" />;
  const { status, details, progress } = ended.value;
  return (
    <>
      {run.error && <Failure error={run.error} />}
      {run.state === "finished" && <Made params={params.value} />}
      {run.state === "finished" && <Report type={type} params={params.value} status={status} />}
      {progress?.steps && progress.steps.length > 0 && <Working steps={progress.steps} />}
      <Raw title="Status" value={status} />
      <Raw title="Details" value={details} />
      <Raw title="Parameters" value={params.value} />
    </>
  );
}

function Failure({ error }: { error: ErrorBody }) {
  return (
    <section class="notice error" role="alert">
      <p>{error.error}</p>
      {error.details !== undefined && (
        <details>
          <summary>Details</summary>
          <JsonBlock value={error.details} label="the details" />
        </details>
      )}
    </section>
  );
}

/** Links to what the run has made, as its parameters name it. */
function Made({ params }: { params: Json }) {
  const datasets = Object.entries(params).flatMap(([name, value]) =>
    /dataset$/i.test(name) ? [isObject(value) ? value.id : value] : [],
  );
  const made = [
    ...datasets.map((id) => ["dataset", "/console/datasets/:id", id] as const),
    ["function", "/console/functions/:id", params.functionName] as const,
  ].filter(([kind, , id]) => typeof id === "string" && entity(kind, id));
  if (!made.length) return null;
  return (
    <p class="made">
      {made.map(([kind, pattern, id]) => (
        <span key={`${kind} ${id}`}>
          <span class="soft">{kind}</span> <a href={link(pattern, { id: String(id) })}>{String(id)}</a>
        </span>
      ))}
    </p>
  );
}

const SHORT = 400; // characters of JSON that are shown without being asked for

function Raw({ title, value }: { title: string; value: unknown }) {
  if (value === undefined || value === null) return null;
  return (
    <details class="card" open={JSON.stringify(value).length <= SHORT}>
      <summary>{title}</summary>
      <JsonBlock value={value} label={title.toLowerCase()} />
    </details>
  );
}

/** The report of a procedure's type, where it has one: a chunk of its own, with the plots. */
function Report(props: ReportProps) {
  const component = useSignal<ComponentType<ReportProps> | undefined>(undefined);
  useEffect(() => {
    import("./run/report").then((module) => {
      component.value = module.default;
    }, complain);
  }, [component]);
  const Shown = component.value;
  return Shown ? <Shown {...props} /> : null;
}
