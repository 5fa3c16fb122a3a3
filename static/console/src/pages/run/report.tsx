// The report of a run, by the type of its procedure; those without one show only their status.
import type { ComponentChildren } from "preact";
import { sqlName } from "../../api";
import { entities, entity } from "../../live";
import { isObject, type Json } from "../../ui/form/schema";
import { type Experiment, ExperimentReport } from "./experiment";
import { Importance } from "./importance";
import { RowMap } from "./map";
import { TestReport } from "./test";
import "../query/query.css";
import "../datasets/datasets.css";
import "./report.css";

export interface ReportProps {
  type: string;
  /** Parameters of the procedure. */
  params: Json;
  /** Status of the run. */
  status: unknown;
}

export default function Report(props: ReportProps) {
  const shown = REPORTS[props.type]?.(props);
  return shown ? (
    <section class="stack report" aria-label="Report">
      {shown}
    </section>
  ) : null;
}

const REPORTS: Record<string, (props: ReportProps) => ComponentChildren> = {
  "classifier.test": ({ params, status }) => (
    <>
      <TestReport mode={modeOf(params)} statistics={status} dataset={made(params.outputDataset)} />
      {tested(params).map((id) => (
        <Importance key={id} functionName={id} />
      ))}
    </>
  ),
  "classifier.experiment": ({ params, status }) => (
    <ExperimentReport experiment={status as Experiment} mode={modeOf(params)} />
  ),
  "classifier.train": trained,
  "randomforest.binary.train": trained,
  "kmeans.train": clustered,
  "gaussianclustering.train": clustered,
  "svd.train": ({ params }) => placed(params, "Rows by their singular vectors"),
  "tsne.train": ({ params }) => placed(params, "t-SNE map of the rows"),
};

function trained({ params }: ReportProps) {
  const { functionName } = params;
  return typeof functionName === "string" && functionName ? <Importance functionName={functionName} /> : null;
}

function clustered({ params }: ReportProps) {
  const query = sqlOf(params.trainingData);
  const groups = made(params.outputDataset);
  if (!query || !groups) return <p class="soft">With an outputDataset the report is a map of the clusters.</p>;
  return (
    <RowMap
      title="Clusters"
      positions={`SELECT * FROM (${query})`}
      groups={groups}
      centres={made(params.centroidsDataset)}
      described={source(query)}
    />
  );
}

function placed(params: Json, title: string) {
  const rows = made(params.rowOutputDataset);
  if (!rows) return <p class="soft">With a rowOutputDataset the report is a map of the rows.</p>;
  const positions = `SELECT * FROM ${sqlName(rows)}`;
  return <RowMap title={title} positions={positions} described={source(sqlOf(params.trainingData))} />;
}

const modeOf = ({ mode }: Json) => (typeof mode === "string" ? mode : "boolean");

/** The id of a dataset that a parameter names, when it is still there. */
function made(spec: unknown): string {
  const id = isObject(spec) ? spec.id : spec;
  return typeof id === "string" && entity("dataset", id) ? id : "";
}

const sqlOf = (query: unknown) => (typeof query === "string" ? query : "");

/** The first dataset that a query reads, for what it says of the same rows. */
function source(query: string): string {
  const [, quoted, bare] = /\bfrom\s+(?:"((?:[^"]|"")+)"|([A-Za-z_]\w*))/i.exec(query) ?? [];
  return made(quoted?.replaceAll('""', '"') ?? bare);
}

/** The classifiers that a testing query calls. */
function tested(params: Json): string[] {
  const query = sqlOf(params.testingData);
  return entities.function.value
    .filter(({ id, type }) => type === "classifier" && (query.includes(`${id}(`) || query.includes(`"${id}"(`)))
    .map(({ id }) => id);
}
