"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const KEY = `lslm-sheet-${data.sheet}`;
let language = data.language;
let current = 0;
let answers = {};
let keeps = true;
let selected = "";  // text of the output that was selected last

function say(text) { return data.words[language][text] ?? text; }

function made(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function load() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    if (kept.answers) ({ answers, current, language } = { language, ...kept });
    localStorage.setItem("lslm-sheet-trial", "");  // under a key of its own: another window may be writing answers
  } catch { keeps = false; }
  if (!data.words[language]) language = data.language;
  if (!(current >= 0 && current < data.rows.length)) current = 0;
}

function save() {
  try { localStorage.setItem(KEY, JSON.stringify({ answers, current, language })); } catch { keeps = false; }
  status();
}

const row = () => data.rows[current];
const answer = () => answers[row().id] ?? {};

function isAnswered(id) {
  const value = answers[id]?.value;
  return value !== undefined && value !== "";
}

function set(change) {
  answers[row().id] = { ...answer(), ...change };
  save();
}

function status() {
  const n = data.rows.filter((each) => isAnswered(each.id)).length;
  at("count").textContent = `${current + 1} / ${data.rows.length} · ${say("answered")} ${n}`;
  at("progress").value = n / data.rows.length;
  at("done").hidden = n < data.rows.length;
  at("lost").hidden = keeps;
  at("back").disabled = current === 0;
  at("next").disabled = current === data.rows.length - 1;
  at("open").disabled = n === data.rows.length;
}

function box(title, text, lang, kind = "") {
  const shown = made("p", { lang: lang ?? "" }, text || "—");
  if (!text) shown.className = "empty";
  return made("div", { className: `text ${kind}` }, made("h3", {}, say(title)), shown);
}

function show() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = say(element.dataset.word);
  at("language").textContent = language === "zh" ? "English" : "中文";
  at("language").lang = language === "zh" ? "en" : "zh-CN";
  const { source, reference, texts, language: lang, sourceLanguage } = row();
  const shown = at("texts");
  shown.replaceChildren();
  shown.className = data.method === "pairwise" ? "texts pair" : "texts";
  if (source) shown.append(box("source", source, sourceLanguage, "given"));
  if (reference !== undefined) shown.append(box("reference", reference, lang, "given"));
  texts.forEach((text, i) => shown.append(box(texts.length > 1 ? ["output A", "output B"][i] : "output", text, lang, "output")));
  at("comment").value = answer().comment ?? "";
  selected = "";
  ({ direct: showScore, pairwise: showChoice, mqm: showErrors })[data.method]();
  status();
}

// a score from 0 to 100

function showScore() {
  at("question").textContent = say("How good is this output, from 0 (useless) to 100 (perfect)?");
  at("keys").textContent = say("Keys: digits for the score, Enter to go on, Backspace outside of fields to go back.");
  const value = answer().value ?? "";
  const range = made("input", { type: "range", min: 0, max: 100, step: 1, value: value === "" ? 50 : value, id: "range" });
  const number = made("input", { type: "number", min: 0, max: 100, step: 1, value, id: "number", inputMode: "numeric" });
  for (const input of [range, number]) input.setAttribute("aria-labelledby", "question");
  const pair = made("div", { className: value === "" ? "score unset" : "score" }, range, number);
  range.addEventListener("input", () => { number.value = range.value; pair.className = "score"; set({ value: range.value }); });
  number.addEventListener("input", () => {
    const n = Number(number.value);
    const valid = number.value !== "" && n >= 0 && n <= 100;
    number.setCustomValidity(valid || number.value === "" ? "" : "0–100");
    if (valid) range.value = n;
    pair.className = valid ? "score" : "score unset";
    set({ value: valid ? String(n) : "" });
  });
  at("controls").replaceChildren(pair, made("div", { className: "ends" }, made("span", {}, "0"), made("span", {}, "50"), made("span", {}, "100")));
}

// which of two

function showChoice() {
  at("question").textContent = say("Which output is better?");
  at("keys").textContent = say("Keys: A or the left arrow, B or the right arrow, S for the same, Enter to go on.");
  const [left, right, same] = data.sides;
  const words = { [left]: "A is better", [same]: "the same", [right]: "B is better" };
  const buttons = [left, same, right].map((side) => {
    const button = made("button", { type: "button" }, say(words[side]));
    button.dataset.side = side;
    button.setAttribute("aria-pressed", String(answer().value === side));
    button.addEventListener("click", () => choose(side));
    return button;
  });
  at("controls").replaceChildren(made("div", { className: "choices" }, ...buttons));
}

function choose(side) { set({ value: side }); showChoice(); }

// errors with a severity

function showErrors() {
  at("question").textContent = say("Select what is wrong in the output, then its severity. Without errors, go on.");
  at("keys").textContent = say("Keys: 1 minor, 2 major, 3 critical for the selected text, Enter to go on.");
  const kept = at("category")?.value;
  const category = made("select", { id: "category" }, ...data.categories.map((name) => made("option", { value: name }, say(name))));
  category.setAttribute("aria-label", say("category"));
  if (kept) category.value = kept;
  const buttons = data.severities.map((name) => {
    const button = made("button", { type: "button" }, say(name));
    button.dataset.severity = name;
    button.addEventListener("click", () => addError(name));
    return button;
  });
  const none = made("button", { type: "button", id: "none" }, say("no errors"));
  none.setAttribute("aria-pressed", String(answer().value === data.none));
  none.addEventListener("click", () => setErrors([]));
  const list = made("ul", { className: "marked" });
  (answer().errors ?? []).forEach((error, i) => {
    const remove = made("button", { type: "button" }, say("remove"));
    remove.addEventListener("click", () => setErrors(answer().errors.filter((_, j) => j !== i)));
    const what = made("mark", { className: error.severity }, error.span || say("the whole output"));
    list.append(made("li", {}, made("span", {}, `${say(error.severity)} · ${say(error.category)}: `, what), remove));
  });
  at("controls").replaceChildren(made("div", { className: "errors" }, category, ...buttons, none), list);
  markErrors();
}

function markErrors() {
  const shown = at("texts").querySelector(".output p");
  const text = row().texts[0];
  if (!text) return;
  const spans = [];
  for (const { span, severity } of answer().errors ?? []) {
    const start = span ? text.indexOf(span) : -1;
    if (start >= 0 && !spans.some((each) => start < each.end && start + span.length > each.start)) spans.push({ start, end: start + span.length, severity });
  }
  spans.sort((a, b) => a.start - b.start);
  shown.replaceChildren();
  let end = 0;
  for (const span of spans) {
    shown.append(text.slice(end, span.start), made("mark", { className: span.severity }, text.slice(span.start, span.end)));
    end = span.end;
  }
  shown.append(text.slice(end));
}

function addError(severity) {
  const error = { severity, category: at("category").value, span: selected.replace(/\s+/g, " ").trim() };
  setErrors([...(answer().errors ?? []), error]);
  getSelection().removeAllRanges();
}

function setErrors(errors) {
  const lines = errors.map(({ severity, category, span }) => `${severity} ${category}: ${span}`);
  set({ errors, value: lines.length ? lines.join("\n") : data.none });
  selected = "";
  showErrors();
}

document.addEventListener("selectionchange", () => {
  const output = at("texts").querySelector(".output p");
  const selection = getSelection();
  if (data.method === "mqm" && output && selection.anchorNode && output.contains(selection.anchorNode) && output.contains(selection.focusNode)) selected = String(selection);
});

// from row to row

function go(index) {
  if (index < 0 || index >= data.rows.length) return;
  if (data.method === "mqm" && index > current && !isAnswered(row().id)) setErrors([]);
  current = index;
  save();
  show();
  scrollTo(0, 0);
}

function goToOpen() {
  const n = data.rows.length;
  for (let i = 1; i <= n; i++) {
    const index = (current + i) % n;
    if (!isAnswered(data.rows[index].id)) { current = index; save(); show(); return; }
  }
}

at("back").addEventListener("click", () => go(current - 1));
at("next").addEventListener("click", () => go(current + 1));
at("open").addEventListener("click", goToOpen);
at("comment").addEventListener("input", () => set({ comment: at("comment").value }));
at("language").addEventListener("click", () => { language = language === "zh" ? "en" : "zh"; save(); show(); });

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const field = event.target.closest("textarea, input[type=number], select");
  const { key } = event;
  if (key === "Enter" && !event.target.closest("textarea, button")) { event.preventDefault(); go(current + 1); return; }
  if (field) return;
  if (key === "Backspace") { event.preventDefault(); go(current - 1); return; }
  if (data.method === "direct" && /^\d$/.test(key)) { at("number").focus(); at("number").select(); return; }
  if (data.method === "pairwise") {
    const [left, right, same] = data.sides;
    const side = { a: left, b: right, s: same, ArrowLeft: left, ArrowRight: right, ArrowDown: same }[key.length > 1 ? key : key.toLowerCase()];
    if (side) { event.preventDefault(); choose(side); }
  }
  if (data.method === "mqm" && data.severities[key - 1]) { event.preventDefault(); addError(data.severities[key - 1]); }
});

// the answers as CSV

function cell(text) {
  const safe = /^\s*[=+\-@＝＋－＠]|^[\t\r\n]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function asCsv() {
  const lines = [["row", data.column, "comment"], ...data.rows.map(({ id }) => [id, answers[id]?.value ?? "", answers[id]?.comment ?? ""])];
  return `\ufeff${lines.map((each) => each.map(cell).join(",")).join("\r\n")}\r\n`;
}

at("download").addEventListener("click", () => {
  const url = URL.createObjectURL(new Blob([asCsv()], { type: "text/csv;charset=utf-8" }));
  made("a", { href: url, download: `${document.body.dataset.file}-answers.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
});

// Another window with this sheet, or this one before it was opened again, wrote answers: show them, so that none are
// overwritten.
addEventListener("storage", ({ key }) => { if (key === KEY) { load(); show(); } });

load();
show();
