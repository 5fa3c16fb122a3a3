// Own classes: a bucket of pictures for each, and a heap of pictures that have no label yet.

import { find, make, post, show, watch } from "./page.js";
import { base64, dropZone, shrink } from "./pictures.js";

const FEWEST = 4; // pictures in a class, as classifiers.py wants them
const STEPS = {
  features: "Looking at the pictures", training: "Training on all pictures", test: "Testing on held-out pictures",
};
let ready = false; // the network is

export function allowTraining(isReady) {
  ready = isReady;
  check();
}

export function addBucket() {
  const bucket = document.importNode(find("bucket-template").content, true).querySelector(".bucket");
  bucket.querySelector(".label").addEventListener("input", check);
  bucket.querySelector(".remove").addEventListener("click", () => {
    bucket.remove();
    check();
  });
  collect(bucket);
  find("buckets").append(bucket);
  check();
}

/** Let an element take pictures, by drop and by choice; they are its `pictures`. */
function collect(bucket) {
  const input = bucket.querySelector("input[type=file]");
  bucket.pictures = [];
  input.addEventListener("change", () => fill(bucket, [...input.files]).then(() => (input.value = "")));
  dropZone(bucket.querySelector(".drop"), (files) => fill(bucket, files));
}

async function fill(bucket, files) {
  show(find("train-error"));
  for (const file of files) {
    try {
      const picture = await shrink(file);
      bucket.pictures.push(picture);
      bucket.querySelector(".thumbs").append(make("img", { src: URL.createObjectURL(picture), alt: file.name ?? "" }));
    } catch (error) {
      show(find("train-error"), error);
    }
  }
  const count = bucket.pictures.length;
  bucket.querySelector(".bucket-hint").hidden = count > 0;
  bucket.querySelector(".count").textContent = count === 1 ? "1 picture" : `${count} pictures`;
  check();
}

const nameOf = (bucket) => bucket.querySelector(".label").value.trim();

function filled() {
  return [...find("buckets").children].filter(({ pictures }) => pictures.length);
}

function check() {
  const buckets = filled();
  const names = new Set(buckets.map(nameOf).filter(Boolean));
  const enough = buckets.length > 1 && buckets.every(({ pictures }) => pictures.length >= FEWEST);
  find("train").disabled = !(enough && names.size === buckets.length && ready);
}

/** `onTrained` gets the new classifier's id. */
export function wire(onTrained) {
  find("add").addEventListener("click", addBucket);
  find("train-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    find("train").disabled = true;
    show(find("train-error"));
    try {
      await train(onTrained);
    } catch (error) {
      show(find("train-error"), error);
    }
    find("training").hidden = true;
    check();
  });
  collect(find("heap"));
  addBucket();
  addBucket();
}

async function train(onTrained) {
  const encode = (pictures) => Promise.all(pictures.map(base64));
  const classes = {};
  for (const bucket of filled()) classes[nameOf(bucket)] = await encode(bucket.pictures);
  const body = { title: find("title").value.trim(), classes, heap: await encode(find("heap").pictures) };
  const job = await post("train", JSON.stringify(body));
  find("training").hidden = false;
  await watch(job, ({ step, part }) => {
    find("training-text").textContent = `${STEPS[step] ?? step} …`;
    find("training-bar").value = part;
  });
  await onTrained(job.id);
}
