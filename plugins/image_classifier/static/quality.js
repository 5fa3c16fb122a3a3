// How good a classifier is: accuracy, how it grew, and which classes are taken for which.

import { find, make, percent } from "./page.js";

export function showQuality(model) {
  find("quality").hidden = !model;
  if (!model) return;
  const tested = model.accuracy !== null;
  find("accuracy").textContent = tested ? percent(model.accuracy) : "…";
  find("accuracy-text").textContent = tested ? "of held-out pictures are right" : "being tested on held-out pictures";
  find("confusion").parentElement.hidden = !tested;
  const looked = model.network ? `Inception-v3, ${model.weights} weights` : "grey levels of 8 × 8 points";
  find("quality-text").textContent = `${model.title} · ${model.pictures} pictures · ${looked}`;
  find("confusion").replaceChildren(...matrix(model));
  find("download").href = `../download?model=${encodeURIComponent(model.id)}`;
  drawHistory(find("history"), model.history);
}

/** Accuracy against the number of labelled pictures, once there are two trainings to compare. */
function drawHistory(chart, history) {
  const figure = chart.parentElement;
  figure.hidden = history.length < 2;
  if (figure.hidden) return;
  const [first, last] = [history[0][0], history.at(-1)[0]];
  const points = history.map(([count, part]) => [8 + (284 * (count - first)) / Math.max(1, last - first), 92 - 84 * part]);
  const shape = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  chart.replaceChildren(
    shape("path", { d: "M8 8H292M8 50H292M8 92H292", class: "grid" }),
    shape("polyline", { points: points.map((point) => point.join(",")).join(" ") }),
    ...points.map(([cx, cy]) => shape("circle", { cx, cy, r: 4 })),
  );
  const told = history.map(([count, part]) => `${percent(part)} with ${count}`).join(", ");
  chart.setAttribute("aria-label", `Accuracy on held-out pictures: ${told} labelled pictures`);
  find("history-text").textContent = `${percent(history[0][1])} with ${first} labelled pictures, ${percent(history.at(-1)[1])} with ${last}`;
}

function matrix({ labels, confusion }) {
  const counts = new Map(confusion.map(([actual, predicted, count]) => [JSON.stringify([actual, predicted]), count]));
  const heading = (text, scope) => make("th", { textContent: text, scope });
  const rows = labels.map((actual) => {
    const row = labels.map((predicted) => counts.get(JSON.stringify([actual, predicted])) ?? 0);
    const total = row.reduce((sum, count) => sum + count, 0) || 1;
    const cells = row.map((count, column) => cell(count, count / total, labels[column] === actual));
    return make("tr", {}, heading(actual, "row"), ...cells);
  });
  const head = make("thead", {}, make("tr", {}, make("td", { className: "corner" }), ...labels.map((label) => heading(label, "col"))));
  const caption = make("caption", { textContent: "Rows: actual. Columns: predicted." });
  return [caption, head, make("tbody", {}, ...rows)];
}

function cell(count, part, right) {
  const dense = part > 0.5; // either shade leaves the number legible
  const shade = dense ? 1 : count ? 0.1 + 0.5 * part : 0;
  const kinds = [right ? "right" : "wrong", count ? "some" : "", dense ? "dense" : ""];
  const element = make("td", { textContent: count || "·", className: kinds.filter(Boolean).join(" ") });
  element.style.setProperty("--part", shade.toFixed(3));
  return element;
}
