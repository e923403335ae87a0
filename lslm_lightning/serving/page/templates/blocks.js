"use strict";
// Builds what blocks.html and figures.html build on the server; text reaches the page as text nodes alone.
const about = JSON.parse(document.querySelector("[data-about]").textContent);
const inserted = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const t = (text, values = {}) => inserted(about.words[text], values);

const filled = (made, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(name, value);
  made.append(...children);
  return made;
};
const element = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) => filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

// Four significant digits and a true minus sign, as in reports.
const number = (value, places = null) => (value === null || value === undefined || Number.isNaN(value) ? "–"
  : value.toLocaleString("en", places === null ? { maximumSignificantDigits: 4 } : { minimumFractionDigits: places, maximumFractionDigits: places }).replace("-", "−"));

const paragraph = (text) => element("p", { class: "prose" }, text);

// A text with one span marked; offsets count characters, not units of UTF-16.
const textBlock = (text, language, span = null) => {
  const characters = [...text];
  const cut = (start, end) => characters.slice(start, end).join("");
  const parts = span === null ? [text]
    : [cut(0, span[0]), element("mark", { class: "given" }, element("span", { class: "spoken" }, t("given: ")), cut(...span)), cut(span[1])];
  return element("article", { class: "sample marked" }, element("div", { class: "text", lang: language, dir: "auto" }, ...parts));
};

const answerBlock = (text, language) => (text.trim() ? textBlock(text, language) : paragraph(t(about.empty)));

const facts = (values) => {
  const known = Object.entries(values).filter(([, value]) => (value ?? null) !== null);
  return known.length ? [element("dl", { class: "facts" }, ...known.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, number(value)))))] : [];
};

// Cells that are no text are numbers, on the right; a heading may be [name, unit].
const table = (caption, headings, rows, places = 3) => {
  const isNumber = headings.map((_, i) => rows.every((row) => typeof row[i] !== "string"));
  const kind = (i) => (isNumber[i] ? "number" : null);
  const cell = (value) => (typeof value === "string" ? element("bdi", {}, value) : number(value, places));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, element("table", {},
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...headings.map((name, i) => element("th", { scope: "col", class: kind(i) }, name)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((value, i) =>
      (i ? element("td", { class: kind(i) }, cell(value)) : element("th", { scope: "row" }, cell(value)))))))));
};

const folded = (title, ...children) => element("details", { class: "data" }, element("summary", {}, title), ...children);

const shownToken = (text) => text.replaceAll("\n", "⏎").replaceAll("\ufffd", "·").replaceAll(" ", "␣");

const ruler = document.createElement("canvas").getContext("2d");
const textWidth = (text) => {
  ruler.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  return ruler.measureText(text).width;
};
const shortened = (label, n = 14) => {
  const characters = [...shownToken(label)];
  return characters.length <= n ? characters.join("") : `${characters.slice(0, n - 1).join("")}…`;
};

// Weights in shades of the accent colour, tokens of the output down and of the source across.
const heatmap = ({ source, target, weights }, sourceLanguage, targetLanguage) => {
  if (Math.max(source.length, target.length) > about.mostDrawn) return paragraph(t(about.notDrawn));
  const [rows, columns] = [target.map((label) => shortened(label)), source.map((label) => shortened(label))];
  const strongest = Math.max(...weights.flat(), 1e-9);
  const isUpright = columns.every((label) => [...label].length === 1);
  const [left, widest] = [rows, columns].map((labels) => Math.max(...labels.map(textWidth)) + 10);
  const head = isUpright ? 20 : widest;
  const size = Math.min(24, Math.max(15, 640 / columns.length));
  const [width, height] = [left + size * columns.length + 4, head + size * rows.length + 4];
  const across = (label, i) => (isUpright
    ? svg("text", { class: "middle", x: left + size * (i + 0.5), y: head - 6 }, label)
    : svg("text", { transform: `translate(${left + size * (i + 0.5) + 4} ${head - 6}) rotate(-90)` }, label));
  const drawing = svg("svg", { class: "heat", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": t(about.attention) },
    svg("g", { class: "labels", lang: targetLanguage }, ...rows.map((label, i) => svg("text", { class: "end", x: left - 6, y: head + size * (i + 0.5) + 4 }, label))),
    svg("g", { class: "labels", lang: sourceLanguage }, ...columns.map(across)),
    svg("g", { class: "cells", transform: `translate(${left} ${head}) scale(${size})` }, ...weights.flatMap((row, y) => row.map((weight, x) =>
      svg("rect", { x, y, width: 1, height: 1, "fill-opacity": (weight / strongest).toFixed(2) })))));
  return element("figure", {}, element("figcaption", {}, t(about.attention)),
    element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t(about.attention) }, drawing),
    element("p", { class: "axis" }, t("output down, source across; strongest {n}", { n: number(strongest) })),
    folded(t("Numbers"), table(t(about.attention), [`${t("output")} \\ ${t("source")}`, ...source.map(shownToken)], target.map((label, i) => [shownToken(label), ...weights[i]]))));
};

const percent = (logP) => 100 * Math.exp(logP);
const percentage = (value) => (value < about.percent.least ? about.percent.faint : `${number(value, 1)}${about.percent.sign}`);
const likely = (token) => token.top.map(([text, logP]) => `${shownToken(text)}\u00a0${percentage(percent(logP))}`).join(", ");

// A continuation with each token shaded by its probability; those that begin in the same character are one piece.
const shades = (prefix, text, tokens, language) => {
  const characters = [...text];
  const byStart = new Map([[0, []]]);
  for (const token of tokens) byStart.set(token.offset, [...(byStart.get(token.offset) ?? []), token]);
  const starts = [...byStart.keys()].sort((a, b) => a - b);
  const pieces = starts.map((start, i) => {
    const piece = characters.slice(start, starts[i + 1] ?? characters.length).join("");
    const known = byStart.get(start).filter((token) => token.logP !== null);
    if (!piece || !known.length) return piece;
    const p = percent(known.reduce((sum, token) => sum + token.logP, 0));
    return element("span", { class: `h${about.bounds.filter((bound) => p <= bound).length}`, title: `${number(p)}${about.percent.sign} (${likely(known.at(-1))})` }, piece);
  });
  const legend = about.legend.flatMap((words, i) => [" ", element("span", { class: `h${i}` }, words)]);
  return element("figure", { class: "shades" },
    element("p", { class: "text", lang: language, dir: "auto" }, element("span", { class: "last" }, prefix), ...pieces),
    ...(tokens.length ? [element("p", { class: "aside" }, t("Probability of each token:"), ...legend)] : []));
};

const tokenTable = (tokens) => folded(t("Numbers"), table(t("Tokens and their probabilities"), [t("token"), `${t("probability")} %`, t("likely tokens")],
  tokens.filter((token) => token.logP !== null).map((token) => [shownToken(token.text), percent(token.logP), likely(token)]), null));
