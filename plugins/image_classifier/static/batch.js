// Many pictures at once: a card for each, with its labels or with what is wrong with it.

import { bars, find, make, post } from "./page.js";
import { shrink } from "./pictures.js";

const AT_ONCE = 3;
let run = 0; // a new batch ends the one before

export async function classifyAll(files, model) {
  const mine = ++run;
  const list = find("batch-list");
  const progress = find("batch-progress");
  const waiting = files.map((file) => ({ file, card: card(file) }));
  let [done, failed] = [0, 0];
  const tell = () => {
    const wrong = failed ? `, ${failed} could not be` : "";
    find("batch-text").textContent = `${done - failed} of ${files.length} pictures classified${wrong}`;
    progress.value = done / files.length;
  };
  list.replaceChildren(...waiting.map(({ card }) => card));
  find("batch").hidden = false;
  progress.hidden = false;
  find("batch").scrollIntoView({ behavior: "smooth", block: "nearest" });
  tell();
  const work = async () => {
    for (let next = waiting.shift(); next && mine === run; next = waiting.shift()) {
      const right = await classify(next.file, next.card, model);
      if (mine !== run) return;
      done += 1;
      failed += right ? 0 : 1;
      tell();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (mine === run) progress.hidden = true;
}

function card(file) {
  const picture = make("span", { className: "picture" });
  return make("li", { className: "card busy" }, picture, make("p", { className: "file quiet", textContent: file.name ?? "" }));
}

async function classify(file, card, model) {
  try {
    const picture = await shrink(file);
    card.firstChild.append(make("img", { src: URL.createObjectURL(picture), alt: "" }));
    const { labels } = await post(`predict?model=${encodeURIComponent(model)}`, picture);
    card.append(make("ol", { className: "bars small" }, ...bars(labels, 3)));
    return true;
  } catch (error) {
    card.append(make("p", { className: "error", textContent: error.message }));
    return false;
  } finally {
    card.classList.remove("busy");
  }
}
