// The page: classify a picture, share the answer, choose a classifier. Its other parts have modules of their own; the
// server's side is ../routes.py.

import { classifyAll } from "./batch.js";
import { clearMap, drawMap } from "./map.js";
import { ask, bars, find, make, pause, percent, post, show } from "./page.js";
import { camera, dropZone, shrink, toBlob } from "./pictures.js";
import { showQuality } from "./quality.js";
import { askAbout } from "./questions.js";
import { allowTraining, wire } from "./teach.js";

const STEPS = {
  weights: "fetching Inception's weights", network: "building Inception", graph: "freezing Inception",
  functions: "loading Inception",
};
const page = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));

let state = { state: "working", step: "weights" };
let models = [];
let latest = 0; // the number of the newest question: older answers are not shown
let answered = null; // what the answer on the page is about: a model's id and a picture

const chosen = () => models.find(({ id }) => id === page.model.value);

// ── the server's state ──

async function follow() {
  for (;;) {
    try {
      state = await ask("state");
      showState();
      await loadModels();
    } catch (error) {
      page.status.dataset.state = "failed";
      page["status-text"].textContent = `no answer: ${error.message}`;
    }
    const settled = state.state !== "working" && models.length && models.every(({ accuracy }) => accuracy !== null);
    await pause(settled ? 15000 : 1000);
  }
}

function showState() {
  page.status.dataset.state = state.state;
  const part = state.part > 0 && state.part < 1 ? ` ${percent(state.part)}` : "";
  const ready = `ready · ${state.weights} weights`;
  page["network-note"].hidden = state.state === "ready";
  const texts = { working: `${STEPS[state.step] ?? state.step}${part} …`, ready, failed: `failed: ${state.error}` };
  page["status-text"].textContent = texts[state.state];
  page.banner.hidden = state.weights !== "random";
  page["banner-text"].textContent =
    "Inception-v3 runs on random weights, as its own could not be had. Your own classes can still be trained, " +
    "less well; there are no ImageNet labels.";
  page["banner-remedy"].textContent = state.remedy ?? "";
  page["banner-reason"].textContent = state.reason ?? "";
  allowTraining(state.state === "ready");
}

async function loadModels(choose) {
  const known = JSON.stringify(models);
  ({ models } = await ask("models"));
  if (JSON.stringify(models) === known && !choose) return;
  const options = models.map(({ id, title, usable }) => make("option", { value: id, textContent: title, disabled: !usable }));
  if (state.weights && state.weights !== "random") options.push(make("option", { value: "imagenet", textContent: "ImageNet, 1000 classes" }));
  const before = page.model.value;
  const wanted = choose ?? before;
  const none = make("option", { value: "", textContent: "getting ready …", disabled: true });
  page.model.replaceChildren(...(options.length ? options : [none]));
  page.model.value = options.some(({ value }) => value === wanted) ? wanted : (options[0]?.value ?? "");
  if (page.model.value === before && !choose) showQuality(chosen());
  else await chooseModel();
}

async function chooseModel() {
  showQuality(chosen());
  clearMap(chosen());
  page["samples-group"].hidden = page.model.value !== "digits";
  if (!page["samples-group"].hidden && !page.samples.childElementCount) await showSamples();
  await askAbout(chosen());
}

async function showSamples() {
  const samples = await ask("samples");
  page.samples.replaceChildren(...samples.map((levels, number) => {
    const canvas = digit(levels);
    const button = make("button", { type: "button", ariaLabel: `Sample ${number + 1}` }, canvas);
    button.addEventListener("click", () => canvas.toBlob(classify));
    return button;
  }));
}

/** Grey levels from 0 to 16, row by row, as a picture. */
function digit(levels) {
  const side = Math.sqrt(levels.length);
  const canvas = make("canvas", { width: 8 * side, height: 8 * side });
  const context = canvas.getContext("2d");
  levels.forEach((level, at) => {
    context.fillStyle = `rgb(${level * 15.9}, ${level * 15.9}, ${level * 15.9})`;
    context.fillRect(8 * (at % side), 8 * Math.floor(at / side), 8, 8);
  });
  return canvas;
}

// ── classify ──

async function answer(preview, question) {
  const number = ++latest;
  preview && (page.preview.src = preview);
  page.preview.hidden = false;
  page["drop-hint"].hidden = page.start.hidden = page.share.hidden = page["share-link"].hidden = true;
  page.result.classList.add("busy");
  page["result-note"].textContent = "Looking at the picture …";
  show(page["result-error"]);
  try {
    const found = await question();
    if (number === latest) showLabels(found);
  } catch (error) {
    if (number !== latest) return;
    page.result.replaceChildren();
    page["result-note"].textContent = "";
    show(page["result-error"], error);
  } finally {
    if (number === latest) page.result.classList.remove("busy");
  }
}

const model = () => page.model.value || "digits";

async function classify(file) {
  let picture;
  try {
    picture = await shrink(file);
  } catch (error) {
    return show(page["result-error"], error);
  }
  const id = model();
  return answer(URL.createObjectURL(picture), async () => {
    const found = await post(`predict?model=${encodeURIComponent(id)}`, picture);
    answered = { id, picture };
    return found;
  });
}

function classifyUrl(url) {
  const id = model();
  return answer("icon.svg", async () => {
    const found = await ask(`predict?model=${encodeURIComponent(id)}&url=${encodeURIComponent(url)}`);
    answered = { id, picture: toBlob(found.picture) };
    return found;
  });
}

const classifyFiles = (files) => (files.length > 1 ? classifyAll(files, model()) : classify(files[0]));

function showLabels({ labels, milliseconds, weights, picture, model }) {
  if (picture) page.preview.src = picture;
  page.result.replaceChildren(...bars(labels, 10));
  const network = weights === "none" ? "" : ` · ${weights} weights`;
  const title = models.find(({ id }) => id === model)?.title ?? model;
  page["result-note"].textContent = `${title} · ${milliseconds} ms${network}`;
  page.share.hidden = answered === null;
  page.result.scrollIntoView({ behavior: "smooth", block: "nearest" });
}

// ── a link to one answer ──

async function share() {
  try {
    const { name } = await post(`share?model=${encodeURIComponent(answered.id)}`, answered.picture);
    const link = new URL(`#shared=${name}`, location.href).href;
    page["share-link"].hidden = false;
    page["share-address"].value = link;
    page["share-address"].select();
    await navigator.clipboard?.writeText(link).then(() => (page["share-note"].textContent = "Copied."), () => {});
  } catch (error) {
    show(page["result-error"], error);
  }
}

function showShared() {
  const name = new URLSearchParams(location.hash.slice(1)).get("shared");
  if (!name) return;
  answered = null;
  answer("icon.svg", () => ask(`shared?name=${encodeURIComponent(name)}`));
}

// ── classifiers as files ──

async function change(work) {
  show(page["model-error"]);
  try {
    await loadModels(await work());
  } catch (error) {
    show(page["model-error"], error);
  }
}

function forget() {
  const { id, title, pictures } = chosen();
  if (!confirm(`Remove the classifier “${title}” and its ${pictures} pictures?`)) return;
  change(async () => {
    await ask(`models?model=${encodeURIComponent(id)}`, { method: "DELETE" });
    return "digits";
  });
}

// ── wiring ──

dropZone(page.drop, classifyFiles, classifyUrl);
page.choose.addEventListener("click", () => page.file.click());
page.file.addEventListener("change", () => {
  if (page.file.files.length) classifyFiles([...page.file.files]);
  page.file.value = "";
});
page.camera.addEventListener("click", camera(find("camera-dialog"), classify, (error) => show(page["result-error"], error)));
page["url-form"].addEventListener("submit", (event) => {
  event.preventDefault();
  classifyUrl(page.url.value);
});
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length) classifyFiles(files);
});
page.model.addEventListener("change", chooseModel);
page.share.addEventListener("click", share);
page.forget.addEventListener("click", forget);
page["load-button"].addEventListener("click", () => page.load.click());
page.load.addEventListener("change", () => {
  const [file] = page.load.files;
  if (file) change(async () => (await post("load", file)).id);
  page.load.value = "";
});
page["map-draw"].addEventListener("click", () => drawMap(chosen(), classify));
page.questions.addEventListener("learnt", () => loadModels());
wire((id) => loadModels(id));
window.addEventListener("hashchange", showShared);
showShared();
follow();
