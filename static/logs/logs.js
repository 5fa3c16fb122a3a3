// The live tail of the server log: lines come as server-sent events, the filters are the server's.
"use strict";

const KEPT_LINES = 5000;
const SEARCH_PAUSE_MS = 250;

const byId = (id) => document.getElementById(id);
const lines = byId("lines");
const scroll = byId("scroll");
const filters = { source: byId("source"), level: byId("level"), q: byId("q") };

let events = null;
let paused = false;
let held = [];
let searchTimer = 0;

function query() {
  const params = new URLSearchParams();
  for (const [name, field] of Object.entries(filters)) {
    if (field.value) params.set(name, field.value);
  }
  return params;
}

function say(text, kind) {
  const state = byId("state");
  state.textContent = text;
  state.className = kind;
}

function highlighted(text, wanted) {
  const piece = document.createDocumentFragment();
  const lower = text.toLowerCase();
  let at = 0;
  for (let found; wanted && (found = lower.indexOf(wanted, at)) >= 0; at = found + wanted.length) {
    piece.append(text.slice(at, found));
    const mark = document.createElement("mark");
    mark.textContent = text.slice(found, found + wanted.length);
    piece.append(mark);
  }
  piece.append(text.slice(at));
  return piece;
}

function cell(kind, content) {
  const element = document.createElement(kind === "time" ? "time" : "span");
  element.className = kind;
  element.append(content);
  return element;
}

function row(entry) {
  const item = document.createElement("li");
  item.className = entry.level;
  const time = cell("time", new Date(entry.ts).toLocaleTimeString(undefined, { hour12: false }) + entry.ts.slice(19, 23));
  time.dateTime = entry.ts;
  time.title = entry.ts;
  const source = cell("source", entry.source);
  source.title = entry.source;
  item.append(time, source, cell("message", highlighted(entry.message, filters.q.value.toLowerCase())));
  return item;
}

function know(source) {
  const known = Array.from(filters.source.options, (option) => option.value);
  if (!known.includes(source)) filters.source.add(new Option(source, source));
}

const atEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 40;

function toEnd() {
  scroll.scrollTop = scroll.scrollHeight;
  byId("newest").hidden = true;
}

let drawing = false;
const waiting = [];

// Lines of one frame are put in together: a burst of thousands costs one layout.
function show(entry) {
  know(entry.source);
  (paused ? held : waiting).push(entry);
  if (held.length > KEPT_LINES) held.shift();
  if (paused) say(`paused, ${held.length} waiting`, "");
  if (!drawing && waiting.length) {
    drawing = true;
    requestAnimationFrame(draw);
  }
}

function draw() {
  drawing = false;
  const follow = atEnd();
  const fragment = document.createDocumentFragment();
  for (const entry of waiting.splice(0)) fragment.append(row(entry));
  lines.append(fragment);
  while (lines.childElementCount > KEPT_LINES) lines.firstElementChild.remove();
  byId("empty").hidden = lines.childElementCount > 0;
  if (follow) toEnd();
  else byId("newest").hidden = false;
}

function connect() {
  if (events) events.close();
  waiting.length = 0;
  held = [];
  lines.replaceChildren();
  byId("empty").hidden = false;
  const params = query();
  history.replaceState(null, "", params.size ? `?${params}` : location.pathname);
  const download = new URLSearchParams(params);
  download.set("format", "text");
  byId("download").href = `/logs/mldb?${download}`;
  say("connecting", "");
  events = new EventSource(`/logs/mldb/events?${params}`);
  events.onopen = () => say(paused ? "paused" : "live", paused ? "" : "live");
  events.onerror = () => say("connection lost, trying again", "lost");
  events.onmessage = (message) => show(JSON.parse(message.data));
}

function pause() {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  byId("pause").textContent = paused ? "Go on" : "Pause";
  say(paused ? "paused" : "live", paused ? "" : "live");
  if (!paused) held.splice(0).forEach(show);
}

async function knowSources() {
  const answer = await fetch("/logs/mldb?format=jsonl");
  const text = await answer.text();
  for (const line of text.split("\n")) if (line) know(JSON.parse(line).source);
}

function start() {
  const given = new URLSearchParams(location.search);
  for (const [name, field] of Object.entries(filters)) {
    const value = given.get(name);
    if (value && name === "source") know(value);
    if (value) field.value = value;
  }
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  filters.source.addEventListener("change", connect);
  filters.level.addEventListener("change", connect);
  filters.q.addEventListener("input", () => {
    clearTimeout(searchTimer);
    searchTimer = setTimeout(connect, SEARCH_PAUSE_MS);
  });
  byId("pause").addEventListener("click", pause);
  byId("clear").addEventListener("click", () => {
    lines.replaceChildren();
    byId("empty").hidden = false;
  });
  byId("newest").addEventListener("click", toEnd);
  scroll.addEventListener("scroll", () => {
    if (atEnd()) byId("newest").hidden = true;
  });
  knowSources();
  connect();
}

start();
