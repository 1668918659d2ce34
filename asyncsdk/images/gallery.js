"use strict";
const items = [...document.querySelectorAll("article")];
const filters = [...document.querySelectorAll("button[data-status]")];
const search = document.querySelector("#search");
const save = document.querySelector("#save");
const store = "asyncsdk:" + document.documentElement.dataset.run;
let rejected = new Set();
let at = -1;
try { rejected = new Set(JSON.parse(localStorage.getItem(store) || "[]")); } catch { /* no storage for files here */ }

function keep() {
  try { localStorage.setItem(store, JSON.stringify([...rejected])); } catch { /* marks last as long as the page */ }
  for (const item of items) {
    const on = rejected.has(item.dataset.id);
    item.classList.toggle("rejected", on);
    item.querySelector(".reject").setAttribute("aria-pressed", on);
  }
  const all = document.querySelector('button[data-status="rejected"] span');
  all.textContent = rejected.size;
  save.disabled = rejected.size === 0;
}

function sift() {
  const status = filters.find((button) => button.getAttribute("aria-pressed") === "true").dataset.status;
  const words = search.value.toLowerCase();
  for (const item of items) {
    const wanted = status === "all" || (status === "rejected" ? rejected.has(item.dataset.id) : item.dataset.status === status);
    item.hidden = !(wanted && (!words || item.dataset.text.includes(words)));
  }
}

function go(step) {
  const seen = items.filter((item) => !item.hidden);
  if (!seen.length) return;
  const now = seen.indexOf(items[at]);
  const next = seen[Math.max(0, Math.min(seen.length - 1, now < 0 ? 0 : now + step))];
  if (at >= 0) items[at].classList.remove("at");
  at = items.indexOf(next);
  next.classList.add("at");
  next.scrollIntoView({ block: "nearest" });
}

function mark(item) {
  if (!item) return;
  const id = item.dataset.id;
  if (rejected.has(id)) rejected.delete(id); else rejected.add(id);
  keep();
}

function download() {
  const lines = items.filter((item) => rejected.has(item.dataset.id)).map((item) => JSON.stringify({ id: item.dataset.id }));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "application/jsonl" }));
  link.download = "rejects.jsonl";
  link.click();
}

for (const button of filters) {
  button.addEventListener("click", () => {
    for (const other of filters) other.setAttribute("aria-pressed", other === button);
    sift();
  });
}
for (const item of items) item.querySelector(".reject").addEventListener("click", () => mark(item));
search.addEventListener("input", sift);
save.addEventListener("click", download);
document.addEventListener("keydown", (event) => {
  if (event.target === search || event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = { j: () => go(1), ArrowDown: () => go(1), k: () => go(-1), ArrowUp: () => go(-1), x: () => mark(items[at]),
    s: download, f: () => items[at] && items[at].querySelector(".after a") && items[at].querySelector(".after a").click() };
  if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
});
keep();
sift();
