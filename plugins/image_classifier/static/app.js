// The page: classify a picture, teach classes, show how good a classifier is. The server's side is ../routes.py.

import { base64, camera, dropZone, shrink } from "./pictures.js";

const FEWEST = 4; // pictures in a class, as classifiers.py wants them
const STEPS = {
  starting: "starting", digits: "training the first classifier", weights: "fetching Inception's weights",
  network: "building Inception", graph: "freezing Inception", functions: "loading Inception",
};
const TRAINING = {
  pictures: "Storing the pictures", features: "Looking at the pictures", test: "Testing on held-out pictures",
  training: "Training on all pictures", ready: "Ready",
};
const find = (id) => document.getElementById(id);
const page = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));

let state = { state: "preparing", step: "starting" };
let models = [];
let latest = 0; // the number of the newest question: older answers are not shown

async function ask(path, options) {
  const response = await fetch(`../${path}`, options);
  const body = await response.json().catch(() => ({ error: `The server answered ${response.status}` }));
  if (!response.ok) throw new Error(body.error ?? body.exception?.message ?? `The server answered ${response.status}`);
  return body;
}

function show(element, error) {
  element.textContent = error ? error.message : "";
  element.hidden = !error;
}

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const percent = (part) => `${(part * 100).toFixed(part > 0.9995 || part === 0 ? 0 : 1)} %`;

// ── the server's state ──

async function follow() {
  try {
    state = await ask("state");
    showState();
    await loadModels();
  } catch (error) {
    page.status.dataset.state = "failed";
    page["status-text"].textContent = `no answer: ${error.message}`;
  }
  const settled = state.state !== "preparing" && models.length && models.every(({ accuracy }) => accuracy !== null);
  setTimeout(follow, settled ? 15000 : 1000);
}

function showState() {
  page.status.dataset.state = state.state;
  const part = state.part > 0 && state.part < 1 ? ` ${percent(state.part)}` : "";
  const ready = `ready · ${state.weights} weights`;
  page["network-note"].hidden = state.state === "ready";
  const texts = { preparing: `${STEPS[state.step] ?? state.step}${part} …`, ready, failed: `failed: ${state.reason}` };
  page["status-text"].textContent = texts[state.state];
  page.banner.hidden = state.weights !== "random";
  page["banner-text"].textContent =
    "Inception-v3 runs on random weights, as its own could not be had. Your own classes can still be trained, " +
    "less well; there are no ImageNet labels.";
  page["banner-remedy"].textContent = state.remedy ?? "";
  page["banner-reason"].textContent = state.reason ?? "";
  checkBuckets();
}

async function loadModels(choose) {
  const known = JSON.stringify(models);
  ({ models } = await ask("models"));
  if (JSON.stringify(models) === known && !choose) return;
  const options = models.map(({ id, title, usable }) => make("option", { value: id, textContent: title, disabled: !usable }));
  if (state.weights && state.weights !== "random") options.push(make("option", { value: "imagenet", textContent: "ImageNet, 1000 classes" }));
  const chosen = choose ?? page.model.value;
  const none = make("option", { value: "", textContent: "getting ready …", disabled: true });
  page.model.replaceChildren(...(options.length ? options : [none]));
  page.model.value = options.some(({ value }) => value === chosen) ? chosen : (options[0]?.value ?? "");
  chooseModel();
}

async function chooseModel() {
  showQuality(models.find(({ id }) => id === page.model.value));
  page["samples-group"].hidden = page.model.value !== "digits";
  if (page["samples-group"].hidden || page.samples.childElementCount) return;
  const sources = await ask("samples");
  if (page.samples.childElementCount) return;
  for (const [number, source] of sources.entries()) {
    const button = make("button", { type: "button" }, make("img", { src: source, alt: `Sample ${number + 1}` }));
    button.addEventListener("click", async () => classify(await (await toBlob(source))));
    page.samples.append(button);
  }
}

/** A data URL as a Blob, without fetching it: the page's policy allows its own server only. */
function toBlob(url) {
  const [head, body] = url.split(",");
  const bytes = Uint8Array.from(atob(body), (character) => character.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5, head.indexOf(";")) });
}

// ── classify ──

async function answer(preview, question) {
  const number = ++latest;
  page.preview.src = preview;
  page.preview.hidden = false;
  page["drop-hint"].hidden = page.start.hidden = true;
  page.result.classList.add("busy");
  show(page["result-error"]);
  try {
    const found = await question(`model=${encodeURIComponent(page.model.value || "digits")}`);
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

async function classify(file) {
  let picture;
  try {
    picture = await shrink(file);
  } catch (error) {
    return show(page["result-error"], error);
  }
  return answer(URL.createObjectURL(picture), (model) => ask(`predict?${model}`, { method: "POST", body: picture }));
}

function classifyUrl(url) {
  return answer("icon.svg", (model) => ask(`predict?${model}&url=${encodeURIComponent(url)}`));
}

function showLabels({ labels, milliseconds, weights, picture }) {
  if (picture) page.preview.src = picture;
  page.result.replaceChildren(
    ...labels.slice(0, 10).map(({ label, score }) => {
      const bar = make("div", { className: "bar" });
      bar.style.setProperty("--share", score);
      const name = make("span", { className: "name", textContent: label });
      return make("li", {}, name, make("span", { className: "share", textContent: percent(score) }), bar);
    }),
  );
  const network = weights === "none" ? "" : ` · ${weights} weights`;
  page["result-note"].textContent = `${milliseconds} ms${network}`;
  page.result.scrollIntoView({ behavior: "smooth", block: "nearest" });
}

// ── teach ──

function addBucket(name = "") {
  const bucket = document.importNode(find("bucket-template").content, true).querySelector(".bucket");
  const input = bucket.querySelector("input[type=file]");
  bucket.pictures = [];
  bucket.querySelector(".label").value = name;
  bucket.querySelector(".label").addEventListener("input", checkBuckets);
  bucket.querySelector(".remove").addEventListener("click", () => {
    bucket.remove();
    checkBuckets();
  });
  input.addEventListener("change", () => fill(bucket, [...input.files]).then(() => (input.value = "")));
  dropZone(bucket.querySelector(".drop"), (files) => fill(bucket, files));
  page.buckets.append(bucket);
  checkBuckets();
}

async function fill(bucket, files) {
  show(page["train-error"]);
  for (const file of files) {
    try {
      const picture = await shrink(file);
      bucket.pictures.push(picture);
      bucket.querySelector(".thumbs").append(make("img", { src: URL.createObjectURL(picture), alt: file.name ?? "" }));
    } catch (error) {
      show(page["train-error"], error);
    }
  }
  const count = bucket.pictures.length;
  bucket.querySelector(".bucket-hint").hidden = count > 0;
  bucket.querySelector(".count").textContent = count === 1 ? "1 picture" : `${count} pictures`;
  checkBuckets();
}

function filled() {
  return [...page.buckets.children].filter(({ pictures }) => pictures.length);
}

function checkBuckets() {
  const buckets = filled();
  const names = new Set(buckets.map((bucket) => bucket.querySelector(".label").value.trim()).filter(Boolean));
  const enough = buckets.length > 1 && buckets.every(({ pictures }) => pictures.length >= FEWEST);
  page.train.disabled = !(enough && names.size === buckets.length && state.state === "ready");
}

async function train(event) {
  event.preventDefault();
  page.train.disabled = true;
  show(page["train-error"]);
  try {
    const classes = {};
    for (const bucket of filled()) {
      classes[bucket.querySelector(".label").value.trim()] = await Promise.all(bucket.pictures.map(base64));
    }
    const body = JSON.stringify({ title: page.title.value.trim(), classes });
    await watch(await ask("train", { method: "POST", body }));
  } catch (error) {
    show(page["train-error"], error);
  }
  page.training.hidden = true;
  checkBuckets();
}

async function watch(job) {
  page.training.hidden = false;
  while (job.state === "training") {
    page["training-text"].textContent = `${TRAINING[job.step] ?? job.step} …`;
    page["training-bar"].value = job.part;
    await new Promise((resolve) => setTimeout(resolve, 300));
    job = await ask(`train?id=${encodeURIComponent(job.id)}`);
  }
  if (job.state === "failed") throw new Error(job.error);
  await loadModels(job.id);
  page.quality.scrollIntoView({ behavior: "smooth", block: "nearest" });
}

// ── quality ──

function showQuality(model) {
  page.quality.hidden = !model;
  if (!model) return;
  const tested = model.accuracy !== null;
  page.accuracy.textContent = tested ? percent(model.accuracy) : "…";
  page["accuracy-text"].textContent = tested ? "of held-out pictures are right" : "being tested on held-out pictures";
  page.confusion.parentElement.hidden = !tested;
  const looked = model.features === "levels" ? "grey levels of 8 × 8 points" : `Inception-v3, ${model.weights} weights`;
  page["quality-text"].textContent = `${model.title} · ${model.pictures} pictures · ${looked}`;
  page.confusion.replaceChildren(...matrix(model));
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
  const head = make("thead", {}, make("tr", {}, make("th"), ...labels.map((label) => heading(label, "col"))));
  const caption = make("caption", { textContent: "Rows: what it is. Columns: what was said." });
  return [caption, head, make("tbody", {}, ...rows)];
}

function cell(count, part, right) {
  const shade = count ? 0.15 + 0.85 * part : 0;
  const kinds = [right ? "right" : "wrong", count ? "some" : "", shade > 0.6 ? "dense" : ""];
  const element = make("td", { textContent: count || "·", className: kinds.filter(Boolean).join(" ") });
  element.style.setProperty("--part", shade.toFixed(3));
  return element;
}

// ── wiring ──

dropZone(page.drop, ([file]) => classify(file), classifyUrl);
page.choose.addEventListener("click", () => page.file.click());
page.file.addEventListener("change", () => page.file.files.length && classify(page.file.files[0]));
page.camera.addEventListener("click", camera(find("camera-dialog"), classify, (error) => show(page["result-error"], error)));
page["url-form"].addEventListener("submit", (event) => {
  event.preventDefault();
  classifyUrl(page.url.value);
});
document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) classify(file);
});
page.model.addEventListener("change", chooseModel);
page.add.addEventListener("click", () => addBucket());
page["train-form"].addEventListener("submit", train);
addBucket();
addBucket();
follow();
