// A map of a classifier's pictures by t-SNE: those that look alike lie together. It scrolls, and zooms by buttons,
// by + and - and by the wheel with Ctrl.

import { ask, find, make, pictureUrl, post, show, watch } from "./page.js";

const DEEPEST = 8;
let zoom = 1;

/** `onClick` gets the picture that is pressed, as a Blob. */
export async function drawMap(model, onClick) {
  const button = find("map-draw");
  const id = encodeURIComponent(model.id);
  button.disabled = true;
  show(find("map-error"));
  try {
    await watch(await post(`map?model=${id}`), ({ part }) => {
      find("map-text").textContent = "Placing the pictures …";
      find("map-progress").hidden = false;
      find("map-progress").value = part;
    });
    place(model, await ask(`map?model=${id}`), onClick);
  } catch (error) {
    show(find("map-error"), error);
  } finally {
    find("map-progress").hidden = true;
    find("map-text").textContent = "";
    button.disabled = false;
  }
}

function place(model, positions, onClick) {
  const hue = (label) => Math.round((360 * model.labels.indexOf(label)) / model.labels.length);
  const scale = (axis) => {
    const values = positions.map((position) => position[axis]);
    const low = Math.min(...values);
    const width = Math.max(...values) - low || 1;
    return (value) => (100 * (value - low)) / width;
  };
  const [left, top] = [scale("x"), scale("y")];
  const pictures = positions.map(({ _rowName, x, y, label }) => {
    const picture = make("img", { src: pictureUrl(model.id, _rowName), alt: label ?? "no label", title: label ?? "no label" });
    if (label) picture.style.setProperty("--hue", hue(label));
    picture.className = label ? "labelled" : "";
    picture.style.left = `${left(x)}%`;
    picture.style.top = `${top(y)}%`;
    picture.addEventListener("click", async () => onClick(await (await fetch(picture.src)).blob()));
    return picture;
  });
  find("map-plane").replaceChildren(...pictures);
  const legend = model.labels.map((label) => {
    const item = make("li", { textContent: label });
    item.style.setProperty("--hue", hue(label));
    return item;
  });
  find("map-legend").replaceChildren(...legend, make("li", { className: "none", textContent: "no label" }));
  find("map").hidden = false;
  zoomTo(1);
}

export function clearMap(model) {
  find("map-section").hidden = !model?.id.startsWith("classes_");
  find("map").hidden = true;
  find("map-plane").replaceChildren();
}

/** Keeps what is in the middle there. */
function zoomTo(wanted) {
  const frame = find("map-frame");
  const factor = Math.min(DEEPEST, Math.max(1, wanted)) / zoom;
  zoom *= factor;
  const [x, y] = [frame.scrollLeft + frame.clientWidth / 2, frame.scrollTop + frame.clientHeight / 2];
  find("map-plane").style.setProperty("--zoom", zoom);
  frame.scrollTo(x * factor - frame.clientWidth / 2, y * factor - frame.clientHeight / 2);
  find("map-in").disabled = zoom === DEEPEST;
  find("map-out").disabled = zoom === 1;
}

find("map-in").addEventListener("click", () => zoomTo(zoom * 2));
find("map-out").addEventListener("click", () => zoomTo(zoom / 2));
find("map-frame").addEventListener("keydown", ({ key }) => {
  if (key === "+") zoomTo(zoom * 2);
  if (key === "-") zoomTo(zoom / 2);
});
find("map-frame").addEventListener(
  "wheel",
  (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoomTo(zoom * (event.deltaY < 0 ? 1.25 : 0.8));
  },
  { passive: false },
);
