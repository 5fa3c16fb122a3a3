// A chart by Observable Plot, as wide as its place; drawn anew when what it shows or its width changes.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { complain } from "../../toasts";
import { fitted } from "../../ui/figure";

export type PlotLibrary = typeof import("@observablehq/plot");
export type Figure = (SVGSVGElement | HTMLElement) & { value?: unknown };

interface ChartProps {
  /** What it shows, in words. */
  label: string;
  draw: (plot: PlotLibrary, width: number) => Figure;
  /** The chart is drawn anew when one of these differs. */
  of: unknown[];
  /** Called with the point that was chosen by a click. */
  onPick?: (value: unknown) => void;
}

const LEAST_WIDTH = 240;

export function Chart({ label, draw, of, onPick }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const width = useSignal(0);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => {
      width.value = Math.max(LEAST_WIDTH, Math.floor(element.clientWidth));
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [width]);
  // What the drawing depends on is said by the caller.
  useEffect(() => {
    if (!width.value) return;
    let current = true;
    import("@observablehq/plot").then((plot) => {
      if (!current) return;
      const figure = fitted(draw(plot, width.value));
      if (onPick) figure.addEventListener("click", () => figure.value && onPick(figure.value));
      box.current?.replaceChildren(figure);
    }, complain);
    return () => {
      current = false;
    };
  }, [width.value, ...of]);
  return <div ref={box} class="plot chart" role="img" aria-label={label} />;
}
