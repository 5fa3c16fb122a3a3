// The teach loop: the classifier asks about the pictures it is least sure of, the user answers by a click or a key, and
// after each round it learns from the answers.

import { ask, bars, find, make, pictureUrl, post, show, watch } from "./page.js";

const panel = find("questions");
let model = null;
let round = { rows: [], left: 0 };
let answers = []; // of this round: a label, or null for a picture that was left out

/** Ask about this classifier's pictures, if it has some without a label. */
export async function askAbout(chosen) {
  model = chosen?.id.startsWith("classes_") ? chosen : null;
  panel.hidden = true;
  if (!model) return;
  const mine = model;
  const found = await ask(`questions?model=${encodeURIComponent(mine.id)}`);
  if (mine !== model || !found.rows.length) return;
  [round, answers] = [found, []];
  find("question-labels").replaceChildren(...model.labels.map(labelButton));
  panel.hidden = false;
  show(find("question-error"));
  showQuestion();
}

function labelButton(label, number) {
  const key = number < 9 ? [make("kbd", { textContent: number + 1 })] : [];
  const button = make("button", { type: "button" }, ...key, make("span", { textContent: label }));
  button.addEventListener("click", () => answer(label));
  return button;
}

async function showQuestion() {
  const row = round.rows[answers.length];
  const at = answers.length;
  find("question-count").textContent = `Picture ${at + 1} of ${round.rows.length} · ${round.left} without a label`;
  find("question-back").disabled = at === 0;
  find("question-picture").src = pictureUrl(model.id, row);
  find("question-guess").replaceChildren();
  const picture = await (await fetch(pictureUrl(model.id, row))).blob();
  const { labels } = await post(`predict?model=${encodeURIComponent(model.id)}`, picture);
  if (round.rows[answers.length] === row) find("question-guess").replaceChildren(...bars(labels, 4));
}

function answer(label) {
  if (panel.hidden || panel.classList.contains("busy")) return;
  answers.push(label);
  if (answers.length < round.rows.length) showQuestion();
  else learn();
}

function back() {
  if (!answers.length || panel.classList.contains("busy")) return;
  answers.pop();
  showQuestion();
}

async function learn() {
  const told = Object.fromEntries(round.rows.map((row, at) => [row, answers[at]]).filter(([, label]) => label !== null));
  const text = find("question-count");
  if (!Object.keys(told).length) {
    answers = [];
    showQuestion();
    return show(find("question-error"), new Error("There is nothing to learn from yet: no picture was answered."));
  }
  show(find("question-error"));
  panel.classList.add("busy");
  try {
    const job = await post(`answers?model=${encodeURIComponent(model.id)}`, JSON.stringify(told));
    await watch(job, ({ step }) => (text.textContent = `Learning from ${Object.keys(told).length} answers: ${step} …`));
    const focused = panel.contains(document.activeElement);
    panel.dispatchEvent(new CustomEvent("learnt", { bubbles: true, detail: model.id }));
    await askAbout(model);
    if (focused && !panel.hidden) panel.focus();
  } catch (error) {
    show(find("question-error"), error);
    answers.pop();
    showQuestion();
  } finally {
    panel.classList.remove("busy");
  }
}

find("question-skip").addEventListener("click", () => answer(null));
find("question-back").addEventListener("click", back);
panel.addEventListener("keydown", ({ key, ctrlKey, altKey, metaKey }) => {
  if (ctrlKey || altKey || metaKey) return;
  if (key >= "1" && key <= "9" && model.labels[key - 1] !== undefined) answer(model.labels[key - 1]);
  if (key === "0") answer(null);
  if (key === "Backspace") back();
});
