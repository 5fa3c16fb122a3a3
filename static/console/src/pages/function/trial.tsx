// What all trials share: the button, the error, the result with its JSON.

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { ApiError } from "../../api";
import { complain } from "../../toasts";
import { JsonBlock } from "../../ui/copy";
import { seconds } from "../../ui/format";
import { Output } from "../../ui/result";

export interface Trial {
  busy: boolean;
  error?: ApiError;
  output?: { value: unknown; seconds: number };
}

/** State of a trial, and a function that runs one. */
export function useTrial(): [{ value: Trial }, (work: () => Promise<unknown>) => Promise<void>] {
  const trial = useSignal<Trial>({ busy: false });
  const run = async (work: () => Promise<unknown>) => {
    trial.value = { ...trial.value, busy: true, error: undefined };
    const began = performance.now();
    try {
      const value = await work();
      trial.value = { busy: false, output: { value, seconds: (performance.now() - began) / 1000 } };
    } catch (error) {
      trial.value = { busy: false };
      if (error instanceof ApiError) trial.value = { busy: false, error };
      else complain(error);
    }
  };
  return [trial, run];
}

export function TrialResult({ trial, children }: { trial: Trial; children?: ComponentChildren }) {
  const { error, output, busy } = trial;
  return (
    <section class="trial" aria-label="Result" aria-live="polite" aria-busy={busy}>
      {error && (
        <p class="notice error" role="alert">
          {error.message}
        </p>
      )}
      {children}
      {output && (
        <>
          <div class="row">
            <h3 class="grow">Result</h3>
            <span class="soft small">{seconds(output.seconds)}</span>
          </div>
          <Output value={output.value} />
          <details>
            <summary class="small soft">As JSON</summary>
            <JsonBlock value={output.value} label="the output" />
          </details>
        </>
      )}
    </section>
  );
}
