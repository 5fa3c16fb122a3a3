// The report of a run, by the type of its procedure.
import type { Json } from "../../ui/form/schema";

export interface ReportProps {
  type: string;
  params: Json;
  status: unknown;
}

export default function Report(_: ReportProps) {
  return null;
}
