// What all parts of the page use: the server's answers, elements, and the list of labels with their bars.

export const find = (id) => document.getElementById(id);

export const percent = (part) => `${(part * 100).toFixed(part > 0.9995 || part === 0 ? 0 : 1)} %`;

/** A route's answer as a value; an Error with the server's words. */
export async function ask(path, options) {
  const response = await fetch(`../${path}`, options);
  const body = await response.json().catch(() => ({ error: `The server answered ${response.status}` }));
  if (!response.ok) throw new Error(body.error ?? body.exception?.message ?? `The server answered ${response.status}`);
  return body;
}

export const post = (path, body) => ask(path, { method: "POST", body });

export function show(element, error) {
  element.textContent = error ? error.message : "";
  element.hidden = !error;
}

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Follow a job of the server's to its end; `onStep` sees it meanwhile. An Error when it fails. */
export async function watch(job, onStep) {
  while (job.state === "working") {
    onStep(job);
    await pause(300);
    job = await ask(`train?id=${encodeURIComponent(job.id)}`);
  }
  if (job.state === "failed") throw new Error(job.error);
}

/** List items for the likeliest labels: name, part of the whole, bar. */
export function bars(labels, most) {
  return labels.slice(0, most).map(({ label, score }) => {
    const bar = make("div", { className: "bar" });
    bar.style.setProperty("--share", score);
    const name = make("span", { className: "name", textContent: label });
    return make("li", {}, name, make("span", { className: "share", textContent: percent(score) }), bar);
  });
}

export const pictureUrl = (model, row) => `../picture?model=${encodeURIComponent(model)}&row=${encodeURIComponent(row)}`;
