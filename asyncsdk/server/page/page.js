// Shows the server's events: each contains one whole section, and only differences are applied. Text is never HTML.
"use strict";
const byId = (id) => document.getElementById(id);
const VIEWS = ["all", "uploads", "files", "batches", "edits", "faults", "requests"];
const pending = {}; // sections that arrived while the page was paused
let paused = false, last = null;

// ---- numbers as text

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (bytes >= 999.5 && at < units.length - 1) { bytes /= 1000; at += 1; }
  return `${at && bytes < 99.95 ? bytes.toFixed(1) : Math.round(bytes)} ${units[at]}`;
}

const count = (number) => number.toLocaleString("en");
const time = (seconds) => new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });

function lasted(seconds) {
  if (seconds < 0.001) return "< 1 ms";
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
}

// ---- elements

function make(tag, classes = "", ...content) {
  const element = document.createElement(tag);
  element.className = classes;
  element.append(...content);
  return element;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function isolated(classes) {
  return make("span", classes, make("bdi"));
}

// Makes `list` show `items`, in their order: known ones are changed, others made or removed; focus is kept.
function show(list, items, key, build, change) {
  const existing = new Map([...list.children].map((child) => [child.dataset.key, child]));
  let next = list.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let element = existing.get(name);
    existing.delete(name);
    if (!element) {
      element = build(item);
      element.dataset.key = name;
    }
    if (element === next) next = next.nextElementSibling;
    else list.insertBefore(element, next);
    change?.(element, item);
  }
  for (const gone of existing.values()) gone.remove();
}

function facts(element, pairs) {
  const rows = Object.entries(pairs).filter(([, value]) => value !== null && value !== undefined);
  show(element, rows.flatMap(([name, value]) => [["dt", name, name], ["dd", name, value]]),
    ([tag, name]) => `${tag} ${name}`, ([tag]) => make(tag), (part, [, , text]) => write(part, String(text)));
}

// ---- uploads: stored parts are solid, arriving ones fill up

function buildUpload() {
  const top = make("div", "top", isolated("name"), make("span", "figure"), make("span", "pill"));
  return make("details", "row", make("summary", "", top, make("div", "track")), make("dl", "facts"));
}

const LOOK = { pending: "live", completed: "good", cancelled: "", expired: "warn" };

function changeUpload(row, upload) {
  const stored = upload.status === "completed" ? upload.bytes : upload.parts.reduce((sum, part) => sum + part, 0);
  const done = stored + upload.arriving.reduce((sum, [received]) => sum + received, 0);
  row.dataset.status = upload.status;
  write(row.querySelector("bdi"), upload.filename);
  write(row.querySelector(".figure"), stored === upload.bytes ? size(upload.bytes)
    : `${size(Math.min(done, upload.bytes))} of ${size(upload.bytes)}`);
  const pill = row.querySelector(".pill");
  pill.className = `pill ${LOOK[upload.status]}`;
  write(pill, upload.status);
  const solid = upload.status === "completed" ? [upload.bytes] : upload.parts;
  const parts = [...solid.map((part) => [part, part, false]), ...upload.arriving.map((part) => [...part, true])];
  show(row.querySelector(".track"), parts.map((part, at) => [...part, at]), ([, , , at]) => at,
    () => make("div", "part", make("i")), (part, row) => fill(part, upload.bytes, ...row));
  facts(row.querySelector(".facts"), {
    id: upload.id, file: upload.file_id, purpose: upload.purpose, parts: count(upload.part_count),
    arriving: upload.arriving.length || null, bytes: count(upload.bytes), expires: time(upload.expires_at),
  });
}

function fill(part, whole, received, total, coming) {
  part.classList.toggle("coming", coming);
  part.style.width = `${(100 * total) / whole}%`;
  part.firstChild.style.width = `${(100 * received) / Math.max(1, total)}%`;
}

// ---- batches: requests that succeeded and that failed, of all

function changeBatch(row, batch) {
  const { total, completed, failed } = batch.request_counts;
  row.dataset.status = batch.status;
  write(row.querySelector("bdi"), batch.id);
  write(row.querySelector(".figure"), `${count(completed + failed)} of ${count(total)}`);
  const pill = row.querySelector(".pill");
  pill.className = `pill ${{ completed: "good", failed: "bad", expired: "warn", cancelled: "" }[batch.status] ?? "live"}`;
  write(pill, batch.status.replace("_", " "));
  const parts = [["part", completed], ["part failed", failed]].filter(([, done]) => done);
  show(row.querySelector(".track"), parts, ([kind]) => kind, ([kind]) => make("div", kind, make("i")),
    (part, [, done]) => fill(part, total, done, done, false));
  facts(row.querySelector(".facts"), {
    model: batch.model, input: batch.input_file_id, output: batch.output_file_id, errors: batch.error_file_id,
    failed: failed || null, problem: batch.errors?.data[0].message, expires: time(batch.expires_at),
  });
}

// ---- files, faults, requests

function buildFile() {
  const top = make("div", "top", isolated("name"), make("span", "figure"));
  return make("details", "row", make("summary", "", top), make("dl", "facts"));
}

function changeFile(row, file) {
  write(row.querySelector("bdi"), file.filename);
  write(row.querySelector(".figure"), `${file.purpose} · ${size(file.bytes)}`);
  facts(row.querySelector(".facts"), {
    id: file.id, bytes: count(file.bytes), created: time(file.created_at),
    expires: file.expires_at === null ? "never" : time(file.expires_at),
  });
}

function buildFault() {
  return make("div", "row", make("div", "top", make("span", "name"), make("span", "figure"), make("span", "pill")),
    make("small"));
}

function changeFault(row, fault) {
  const pill = row.querySelector(".pill");
  pill.className = `pill ${fault.is_met ? "good" : "warn"}`;
  write(pill, fault.is_met ? "met" : "waiting");
  write(row.querySelector(".name"), `${fault.route}: ${fault.kind}${fault.kind === "answer" ? ` ${fault.status}` : ""}`);
  write(row.querySelector(".figure"), fault.is_met ? `${count(fault.met)} ×` : `${count(fault.met)} of ${count(fault.due)}`);
  write(row.querySelector("small"), wordsOf(fault).filter(Boolean).join(" · "));
}

const MOMENTS = {
  before: "before the body", in: "in the body", after: "after the body", done: "done, no response yet",
  answering: "in the response",
};

function wordsOf(fault) {
  const always = fault.every === 1 ? "every call" : `every ${fault.every} calls`;
  return [
    !["limit", "slow"].includes(fault.kind) && MOMENTS[fault.at],
    fault.nth && (fault.every ? `from call ${fault.nth} on` : `call ${fault.nth}`),
    fault.every && always,
    fault.probability && `probability ${fault.probability}`,
    fault.times && (fault.times === 1 ? "once" : `${fault.times} times`),
    fault.seconds && `for ${fault.seconds} s`,
    fault.rate && `${size(fault.rate)}/s`,
    fault.per_minute && `${count(fault.per_minute)} ${fault.unit} a minute`,
    fault.retry_after && `Retry-After ${fault.retry_after}`,
  ];
}

function buildRequest(call) {
  const status = make("span", "status", call.status === null ? "lost" : String(call.status));
  status.classList.add(call.status === null || call.status >= 500 ? "bad" : call.status >= 400 ? "warn" : "good");
  const place = call.route === "unknown" ? call.path : call.path.replace(/^\/v1/, "").replace(/\{\w+\}/g, "…");
  const query = Object.entries(call.query).map(([name, value]) => `${name}=${value}`).join("&");
  const path = make("span", "name", query ? `${place}?${query}` : place);
  path.title = `${call.route === "unknown" ? "no such address:" : call.route} ${call.path}`;
  const fault = call.fault ? [make("span", "pill warn", call.fault)] : [];
  const moved = call.bytes >= call.bytes_sent ? `↑ ${size(call.bytes)}` : `↓ ${size(call.bytes_sent)}`;
  return make("div", "row", make("div", "top", make("span", "number figure", `#${call.number}`), status,
    make("span", "method", call.method), path, ...fault, make("span", "figure wide moved", moved),
    make("span", "figure wide", lasted(call.seconds))));
}

// ---- edits

const sides = (edit) => ["before", "after"].map((side) => {
  const picture = make("img");
  picture.alt = side;
  picture.src = `/_page/edits/${encodeURIComponent(edit.name)}/${side}`;
  return picture;
});

function buildEdit(edit) {
  const prompt = isolated("caption");
  prompt.firstChild.textContent = edit.prompt;
  const more = [edit.model, edit.images > 1 ? `${edit.images} pictures` : ""].filter(Boolean).join(" · ");
  const card = make("button", "edit", make("div", "sides", ...sides(edit)), prompt, make("small", "", more));
  card.type = "button";
  card.addEventListener("click", () => enlarge(edit, more));
  return card;
}

function enlarge(edit, more) {
  const dialog = byId("large");
  write(byId("large-name"), more || "Edit");
  write(dialog.querySelector(".prompt"), edit.prompt);
  const figures = sides(edit).map((picture) => make("figure", "", picture, make("figcaption", "", picture.alt)));
  dialog.querySelector(".sides").replaceChildren(...figures);
  dialog.showModal();
}

// ---- the top

function changeSummary(summary) {
  const now = performance.now();
  write(byId("under_way"), count(summary.under_way));
  write(byId("received"), size(summary.received));
  write(byId("calls"), count(summary.calls));
  if (!last || now - last.at > 900) {
    const rate = last ? Math.max(0, (summary.received - last.received) / (now - last.at)) * 1000 : 0;
    write(byId("rate"), `${size(rate)}/s`);
    last = { at: now, received: summary.received };
  }
}

const SECTIONS = {
  uploads: [(one) => one.id, buildUpload, changeUpload],
  files: [(one) => one.id, buildFile, changeFile],
  batches: [(one) => one.id, buildUpload, changeBatch],
  edits: [(one) => one.name, buildEdit],
  faults: [(one) => one.at_place, buildFault, changeFault],
  requests: [(one) => one.number, buildRequest],
};

function receive(name, section) {
  if (paused) { pending[name] = section; return; }
  if (name === "summary") { changeSummary(section); return; }
  section.items.forEach((item, at) => { item.at_place = at; });
  write(document.querySelector(`[data-view=${name}] span`), count(section.total));
  show(byId(name).querySelector(".list"), section.items, ...SECTIONS[name]);
}

// ---- buttons and keys

function view(name) {
  document.body.dataset.show = name;
  for (const button of document.querySelectorAll("[data-view]")) {
    button.setAttribute("aria-pressed", String(button.dataset.view === name));
  }
}

function pause() {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  write(byId("pause"), paused ? "Resume" : "Pause");
  if (paused) return;
  for (const [name, section] of Object.entries(pending)) {
    delete pending[name];
    receive(name, section);
  }
}

for (const button of document.querySelectorAll("[data-view]")) {
  button.addEventListener("click", () => view(button.dataset.view));
}
byId("pause").addEventListener("click", pause);
byId("close").addEventListener("click", () => byId("large").close());
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("large").open) return;
  if (event.key === "p") pause();
  else if (VIEWS[event.key - 1]) view(VIEWS[event.key - 1]);
  else if (event.key === "Escape") for (const open of document.querySelectorAll("details[open]")) open.open = false;
});

// ---- the event stream: the browser reconnects by itself

const url = `${location.origin}/v1`;
write(byId("url"), url);
write(document.querySelector(".url"), url);
const events = new EventSource("/_page/events");
const line = byId("line");
events.onopen = () => { line.className = "pill good"; write(line, "live"); };
events.onerror = () => { line.className = "pill bad"; write(line, "no connection"); };
for (const name of ["summary", ...Object.keys(SECTIONS)]) {
  events.addEventListener(name, (event) => receive(name, JSON.parse(event.data)));
}
