// Shows /openapi.json and lets one try what it describes. Text is set as text, never as markup.

const routes = document.getElementById("routes");
const search = document.getElementById("search");
const state = document.getElementById("state");

function element(name, content = "", attributes = {}) {
  const made = document.createElement(name);
  made.append(...[content].flat());
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function resolve(document_, schema) {
  const path = schema?.$ref?.slice(2).split("/");
  return path ? path.reduce((part, key) => part?.[key], document_) : schema;
}

function example(document_, schema, depth = 0) {
  const known = resolve(document_, schema) ?? {};
  if (known.const !== undefined) return known.const;
  if (known.default !== undefined) return known.default;
  if (known.oneOf) return example(document_, known.oneOf[0], depth);
  if (known.properties && depth < 3) {
    const required = Object.entries(known.properties).filter(([key]) => depth === 0 || known.required?.includes(key));
    return Object.fromEntries(required.map(([key, each]) => [key, example(document_, each, depth + 1)]));
  }
  return { string: "", integer: 0, number: 0, boolean: false, array: [], object: {} }[known.type] ?? null;
}

// A schema in the notation of TypeScript; named ones by name.
function shape(schema, indent = "") {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" | ");
  const options = schema.anyOf ?? schema.oneOf;
  if (options) return options.map((each) => shape(each, indent)).join(" | ");
  if (Array.isArray(schema.type)) return schema.type.join(" | ");
  if (schema.prefixItems) return `[${schema.prefixItems.map((each) => shape(each, indent)).join(", ")}]`;
  if (schema.type === "array") return schema.items ? `${grouped(shape(schema.items, indent))}[]` : "any[]";
  if (!schema.properties) return schema.type ?? "any";
  const inner = `${indent}  `;
  const members = Object.entries(schema.properties).map(([name, each]) => {
    const mark = schema.required?.includes(name) ? "" : "?";
    const comment = each.description ? `  // ${each.description}` : "";
    return `${inner}${name}${mark}: ${shape(each, inner)}${comment}\n`;
  });
  return members.length ? `{\n${members.join("")}${indent}}` : "{}";
}

const grouped = (text) => (text.includes(" | ") ? `(${text})` : text);

function named(document_, schema, seen) {
  for (const [key, value] of Object.entries(schema ?? {})) {
    if (key === "$ref" && !seen.has(value)) {
      seen.add(value);
      named(document_, resolve(document_, schema), seen);
    } else if (value && typeof value === "object") named(document_, value, seen);
  }
  return seen;
}

function reply(document_, status, { description, content = {} }) {
  const made = [element("strong", status === "default" ? "error" : status), ` ${description ?? ""}`];
  const block = [];
  for (const [media, { schema }] of Object.entries(content)) {
    if (media !== "application/json") block.push(media);
    if (!schema) continue;
    block.push(shape(schema));
    for (const name of named(document_, schema, new Set())) {
      block.push(`${name.split("/").pop()} = ${shape(resolve(document_, { $ref: name }))}`);
    }
  }
  if (block.length) made.push(element("pre", block.join("\n")));
  return element("li", made);
}

function replies(document_, operation) {
  const listed = Object.entries(operation.responses ?? {}).map(([status, each]) => reply(document_, status, each));
  return element("details", [element("summary", "Answers"), element("ul", listed)]);
}

function field(parameter) {
  const input = element("input", "", { name: parameter.name, autocomplete: "off" });
  if (parameter.schema?.default !== undefined) input.placeholder = String(parameter.schema.default);
  const name = parameter.in === "path" ? `${parameter.name} (path)` : parameter.name;
  return element("label", [name, parameter.description ? ` – ${parameter.description}` : "", input]);
}

async function send(form, verb, path, operation, answer) {
  const values = new FormData(form);
  let address = path;
  const query = new URLSearchParams();
  for (const { name, in: place } of operation.parameters ?? []) {
    const value = values.get(name);
    if (place === "path") address = address.replace(`{${name}}`, encodeURIComponent(value));
    else if (value) query.set(name, value);
  }
  const body = values.get("body:");
  const options = { method: verb.toUpperCase() };
  if (body && verb !== "get") Object.assign(options, { body, headers: { "Content-Type": "application/json" } });
  answer.textContent = "asking";
  try {
    const got = await fetch(query.size ? `${address}?${query}` : address, options);
    const text = await got.text();
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* no JSON: as it came */ }
    answer.textContent = `${got.status} ${got.statusText}\n${shown.slice(0, 20000)}`;
  } catch (error) {
    answer.textContent = String(error);
  }
}

function content(document_, path, verb, operation) {
  const form = element("form");
  for (const parameter of operation.parameters ?? []) form.append(field(parameter));
  const schema = operation.requestBody?.content?.["application/json"]?.schema;
  if (operation.requestBody && verb !== "get") {
    const text = element("textarea", "", { name: "body:", rows: "6", spellcheck: "false" });
    text.value = schema ? JSON.stringify(example(document_, schema), null, 2) : "";
    form.append(element("label", ["Body", text]));
  }
  const answer = element("pre", "", { class: "answer", "aria-live": "polite" });
  form.append(element("button", "Send", { type: "submit" }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form, verb, path, operation, answer);
  });
  return element("div", [replies(document_, operation), form, answer]);
}

function route(document_, path, verb, operation) {
  const title = [element("span", verb.toUpperCase(), { class: `verb ${verb}` }), element("code", path)];
  if (operation.summary) title.push(element("span", operation.summary, { class: "about" }));
  if (operation["x-mldb-source"]) title.push(element("span", operation["x-mldb-source"], { class: "mark" }));
  const details = element("details", element("summary", title));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(content(document_, path, verb, operation));
  });
  details.dataset.text = `${verb} ${path} ${operation.summary ?? ""}`.toLowerCase();
  return details;
}

function show(document_) {
  const groups = new Map();
  for (const [path, item] of Object.entries(document_.paths)) {
    for (const [verb, operation] of Object.entries(item)) {
      const tag = operation.tags?.[0] ?? "server";
      if (!groups.has(tag)) groups.set(tag, element("section", element("h2", tag)));
      groups.get(tag).append(route(document_, path, verb, operation));
    }
  }
  routes.replaceChildren(...groups.values());
}

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const section of routes.children) {
    let any = false;
    for (const each of section.querySelectorAll(":scope > details")) {
      each.hidden = !words.every((word) => each.dataset.text.includes(word));
      any ||= !each.hidden;
      count += !each.hidden;
    }
    section.hidden = !any;
  }
  state.textContent = `${count} ${count === 1 ? "route" : "routes"}`;
}

search.addEventListener("input", filter);
const answer = await fetch("/openapi.json");
if (answer.ok) {
  show(await answer.json());
  filter();
} else {
  state.textContent = `The description of the API could not be had: ${answer.status}`;
}
