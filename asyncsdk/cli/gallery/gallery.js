// Filters, search, marks and the large view. All data is in the page; without this script everything is visible.
"use strict";
(() => {
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  root.classList.add("js");

  // pictures may fail before the page is read to its end; neither event bubbles
  document.addEventListener("error", ({ target }) => {
    if (target instanceof HTMLImageElement) target.closest(".box").classList.add("missing");
  }, true);
  document.addEventListener("load", ({ target }) => {
    const ratio = target.naturalWidth / target.naturalHeight;
    if (ratio > 0) target.style.setProperty("--ratio", ratio);
  }, true);

  const KEYS = {
    j: "next", ArrowRight: "next", k: "back", ArrowLeft: "back", ArrowDown: "below", ArrowUp: "above",
    f: "large", Enter: "large", x: "mark", s: "save", m: "masks", "/": "search",
  };
  const STORE = `asyncsdk-gallery-${root.dataset.run}`;
  let items, main, large, search, current = null, filter = "all", keeps = true;

  const count = (number) => number.toLocaleString("en");
  const shown = () => items.filter((item) => !item.hidden);
  const rejected = () => items.filter((item) => item.classList.contains("rejected"));
  const press = (button, on) => button.setAttribute("aria-pressed", String(on));
  const tell = (words) => { byId("told").textContent = words; };

  // ---- marks: kept by this browser if it lets a page from a file keep anything

  function kept() {
    try {
      const marks = JSON.parse(localStorage.getItem(STORE) ?? "[]");
      return new Set(Array.isArray(marks) ? marks : []);
    } catch {
      return new Set();
    }
  }

  function keep(stamp, on) {
    const marks = kept(); // read anew: another tab may have marked since
    if (on) marks.add(stamp); else marks.delete(stamp);
    try {
      localStorage.setItem(STORE, JSON.stringify([...marks]));
    } catch {
      keeps = false;
    }
  }

  function showMark(item, on) {
    item.classList.toggle("rejected", on);
    press(item.querySelector(".mark"), on);
    if (item === current) showLargeMark();
  }

  function mark() {
    if (!current) return;
    const on = !current.classList.contains("rejected");
    showMark(current, on);
    keep(current.dataset.stamp, on);
    recount();
  }

  function recount() {
    const marked = rejected().length;
    document.querySelector("[data-show=rejected] span").textContent = count(marked);
    byId("save").classList.toggle("ready", marked > 0);
    const lost = keeps ? "" : " This browser keeps no marks: save them before you leave.";
    tell(`${count(shown().length)} of ${count(items.length)} shown, ${count(marked)} rejected.${lost}`);
  }

  function save() {
    const lines = rejected().map((item) => `${item.dataset.redo}\n`);
    if (!lines.length) return tell("Nothing is marked: x marks an item as reject.");
    const url = URL.createObjectURL(new Blob(lines, { type: "application/jsonl" }));
    Object.assign(document.createElement("a"), { href: url, download: "rejects.jsonl" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
    tell(`${count(lines.length)} saved as rejects.jsonl: asyncsdk edit-many … --redo rejects.jsonl`);
  }

  // ---- what is shown

  function refilter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const item of items) item.hidden = !(passes(item) && holds(item, words));
    byId("empty").hidden = items.some((item) => !item.hidden);
    if (current?.hidden) leave();
    recount();
  }

  function passes(item) {
    if (filter === "rejected") return item.classList.contains("rejected");
    return filter === "all" || item.dataset.status === filter;
  }

  function holds(item, words) {
    if (!words.length) return true;
    item.words ??= [...item.querySelectorAll("h2, .prompt")].map((part) => part.textContent).join("\n").toLowerCase();
    return words.every((word) => item.words.includes(word));
  }

  function show(button) {
    filter = button.dataset.show;
    for (const other of document.querySelectorAll("[data-show]")) press(other, other === button);
    refilter();
  }

  function masks(button = document.querySelector("[data-do=masks]")) {
    if (button) press(button, root.classList.toggle("masks"));
  }

  // ---- moving

  function leave() {
    current?.removeAttribute("aria-current");
    current = null;
  }

  function go(item) {
    leave();
    current = item;
    item.setAttribute("aria-current", "true");
    item.scrollIntoView({ block: "nearest" });
    if (large.open) return fill();
    item.focus({ preventScroll: true });
  }

  function step(by) {
    const list = shown();
    if (!list.length) return;
    const at = current ? list.indexOf(current) + by : inView(list);
    if (at >= 0 && at < list.length) go(list[at]);
  }

  function inView(list) {
    const top = byId("bar").getBoundingClientRect().bottom;
    return Math.max(0, list.findIndex((item) => item.getBoundingClientRect().top >= top));
  }

  const columns = () => (large.open ? 1 : getComputedStyle(main).gridTemplateColumns.split(" ").length);

  // ---- the large view: the same pictures again, as large as there is room

  function enlarge(link) {
    if (link && large.contains(link)) return solo(link);
    if (large.open) return large.close();
    if (!current) step(0);
    if (!current) return;
    large.showModal();
    fill();
  }

  function fill() {
    const parts = [current.querySelector(".sides"), current.querySelector(".problem, .prompt")];
    const copies = parts.filter(Boolean).map((part) => part.cloneNode(true));
    byId("large-item").replaceChildren(...copies);
    byId("large-name").replaceChildren(current.querySelector("h2 bdi").cloneNode(true));
    byId("place").textContent = `${count(shown().indexOf(current) + 1)} / ${count(shown().length)}`;
    showLargeMark();
  }

  function showLargeMark() {
    const on = current.classList.contains("rejected");
    large.classList.toggle("rejected", on);
    press(large.querySelector("[data-do=mark]"), on);
  }

  function solo(box) {
    const alone = box.classList.toggle("solo");
    box.closest(".sides").classList.toggle("one", alone);
  }

  // ---- what is pressed

  const DO = {
    next: () => step(1),
    back: () => step(-1),
    below: () => step(columns()),
    above: () => step(-columns()),
    search: () => search.focus(),
    large: enlarge,
    mark, save, show, masks,
  };

  function clicked(event) {
    const item = event.target.closest("article");
    const button = event.target.closest("[data-do]");
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a link in a tab of its own
    if (item && item !== current) {
      leave();
      current = item;
      item.setAttribute("aria-current", "true");
    }
    if (!button) return;
    event.preventDefault();
    DO[button.dataset.do](button.dataset.do === "large" && button.tagName !== "A" ? undefined : button);
  }

  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target === search) {
      if (event.key === "Escape") search.blur();
      return;
    }
    if (event.key === "Enter" && event.target.closest("a, button, summary")) return; // theirs
    const name = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!name || (event.repeat && !/next|back|below|above/.test(name))) return;
    event.preventDefault();
    DO[name]();
  }

  // ---- paper has no folds

  function unfold() {
    for (const prompt of document.querySelectorAll("details.prompt:not([open])")) {
      prompt.open = prompt.dataset.unfolded = true;
    }
  }

  function fold() {
    for (const prompt of document.querySelectorAll("[data-unfolded]")) {
      prompt.open = false;
      delete prompt.dataset.unfolded;
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    main = document.querySelector("main");
    items = [...main.children];
    large = byId("large");
    search = byId("search");
    const marks = kept();
    for (const item of items) if (marks.has(item.dataset.stamp)) showMark(item, true);
    search.addEventListener("input", refilter);
    document.addEventListener("click", clicked);
    document.addEventListener("keydown", pressed);
    large.addEventListener("close", () => current?.focus({ preventScroll: true }));
    addEventListener("beforeprint", unfold);
    addEventListener("afterprint", fold);
    refilter();
  });
})();
