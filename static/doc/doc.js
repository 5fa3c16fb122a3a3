// The documentation: contents that fold on a phone, search over all pages, code to copy. Runs where it stands in the
// page, so that nothing jumps. Text is set as text, never as markup.
{
  const { root } = document.querySelector(".doc").dataset;
  const contents = document.querySelector(".contents");
  const search = contents.querySelector("input");
  const found = document.getElementById("found");
  const MOST = 20;
  const AROUND = 90;
  // MLDB's documentation was one page, which showed the others in a frame: /doc/#builtin/sql/Sql.md.html
  if (location.hash.startsWith("#builtin/")) location.replace(root + location.hash.slice(1));
  if (matchMedia("(max-width: 56rem)").matches) contents.open = false;

  let index;
  const load = async () => (index ??= await (await fetch(`${root}search.json`)).json());

  function marked(text, words) {
    const made = document.createElement("small");
    let rest = text;
    while (rest) {
      const lower = rest.toLowerCase();
      const hits = words.map((word) => [lower.indexOf(word), word.length]).filter(([at]) => at >= 0);
      if (!hits.length) break;
      const [at, length] = hits.reduce((first, each) => (each[0] < first[0] ? each : first));
      const mark = document.createElement("mark");
      mark.textContent = rest.slice(at, at + length);
      made.append(rest.slice(0, at), mark);
      rest = rest.slice(at + length);
    }
    made.append(rest);
    return made;
  }

  // The line of the text with the most of the words, cut around the first of them.
  function excerpt(text, words) {
    let best = "";
    let most = 0;
    for (const line of text.split("\n")) {
      const lower = line.toLowerCase();
      const count = words.filter((word) => lower.includes(word)).length;
      if (count > most) [best, most] = [line, count];
    }
    const at = Math.min(...words.map((word) => best.toLowerCase().indexOf(word)).filter((each) => each >= 0));
    const from = at > AROUND ? best.lastIndexOf(" ", at - AROUND / 2) + 1 : 0;
    return `${from ? "… " : ""}${best.slice(from, from + 2 * AROUND)}${best.length > from + 2 * AROUND ? " …" : ""}`;
  }

  function score([, heading, , text], words) {
    const title = heading.toLowerCase();
    const lower = text.toLowerCase();
    if (!words.every((word) => title.includes(word) || lower.includes(word))) return 0;
    return 1 + words.filter((word) => title.includes(word)).length * 10 - Math.min(lower.length, 10000) / 10001;
  }

  function item([page, heading, address, text], words) {
    const link = document.createElement("a");
    link.href = root + address;
    const title = document.createElement("strong");
    title.textContent = page === heading ? page : `${page}: ${heading}`;
    link.append(title, marked(excerpt(text, words), words));
    const made = document.createElement("li");
    made.append(link);
    return made;
  }

  function note(text) {
    const made = document.createElement("li");
    made.textContent = text;
    return made;
  }

  async function look() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) {
      found.replaceChildren();
      return;
    }
    if (!index) found.replaceChildren(note("Searching …"));
    const sections = await load();
    if (words.join(" ") !== search.value.toLowerCase().trim().replace(/\s+/g, " ")) return; // typed on meanwhile
    const ranked = sections.map((each) => [score(each, words), each]).filter(([points]) => points);
    ranked.sort((one, other) => other[0] - one[0]);
    const items = ranked.slice(0, MOST).map(([, each]) => item(each, words));
    if (!items.length) items.push(note(`No page has ${words.join(" and ")}.`));
    found.replaceChildren(...items);
  }

  search.addEventListener("focus", load);
  search.addEventListener("input", look);
  contents.addEventListener("keydown", (event) => {
    const links = [...found.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    if (event.key === "ArrowDown" && links.length) links[Math.min(at + 1, links.length - 1)].focus();
    else if (event.key === "ArrowUp" && at >= 0) (links[at - 1] ?? search).focus();
    else if (event.key === "Enter" && event.target === search) links[0]?.click();
    else if (event.key === "Escape" && search.value) {
      search.value = "";
      found.replaceChildren();
      search.focus();
    } else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea")) return;
    contents.open = true;
    search.focus();
    event.preventDefault();
  });

  document.addEventListener("DOMContentLoaded", () => {
    contents.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
    for (const each of document.querySelectorAll("main :is(pre, table)")) {
      if (each.scrollWidth <= each.clientWidth) each.removeAttribute("tabindex"); // no stop on the way of the keyboard
    }
    for (const block of document.querySelectorAll("main pre")) {
      const frame = document.createElement("div");
      frame.className = "block";
      block.replaceWith(frame);
      const copy = document.createElement("button");
      copy.type = "button";
      copy.textContent = "Copy";
      copy.addEventListener("click", async () => {
        await navigator.clipboard.writeText(block.textContent);
        copy.textContent = "Copied";
        setTimeout(() => { copy.textContent = "Copy"; }, 1500);
      });
      frame.append(block, copy);
    }
  });
}
