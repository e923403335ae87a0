"use strict";
// Searches, sorts and pages the examples of each explorer; text reaches the page as text nodes alone.
(() => {
  const unit = /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|[\p{L}\p{N}\p{M}_]+|[^\s\p{L}\p{N}\p{M}_]/gu;
  const longest = 400; // units; longer texts are shown without marks
  const longSource = 400; // characters; the rest of a longer source is folded

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };

  const unitsOf = (text) => [...text.matchAll(unit)].map((match) => ({ word: match[0], start: match.index, end: match.index + match[0].length }));

  // Which units of `own` belong to a longest common subsequence with `other`.
  const common = (own, other) => {
    const width = other.length + 1;
    const length = new Uint16Array((own.length + 1) * width);
    for (let i = own.length - 1; i >= 0; i--)
      for (let j = other.length - 1; j >= 0; j--)
        length[i * width + j] = own[i].word === other[j].word
          ? length[(i + 1) * width + j + 1] + 1
          : Math.max(length[(i + 1) * width + j], length[i * width + j + 1]);
    const kept = new Array(own.length).fill(false);
    for (let i = 0, j = 0; i < own.length && j < other.length;) {
      if (own[i].word === other[j].word) { kept[i] = true; i++; j++; }
      else if (length[(i + 1) * width + j] >= length[i * width + j + 1]) i++;
      else j++;
    }
    return { kept, size: length[0] };
  };

  // The text with marks on what the closest reference does not have.
  const marked = (text, references) => {
    const own = unitsOf(text);
    const others = references.map(unitsOf);
    if (!others.length || Math.max(own.length, ...others.map((each) => each.length)) > longest) return [text];
    const found = others.map((other) => ({ ...common(own, other), total: own.length + other.length }));
    const closest = found.reduce((best, each) => (2 * each.size / each.total > 2 * best.size / best.total ? each : best));
    const parts = [];
    let at = 0;
    for (let i = 0; i < own.length; i++) {
      if (closest.kept[i]) continue;
      let last = i;
      while (last + 1 < own.length && !closest.kept[last + 1]) last++;
      parts.push(text.slice(at, own[i].start), element("mark", {}, text.slice(own[i].start, own[last].end)));
      at = own[last].end;
      i = last;
    }
    return [...parts, text.slice(at)];
  };

  const folding = (text) => {
    if (text.length <= longSource) return text;
    const cut = Math.max(text.lastIndexOf(" ", longSource), text.lastIndexOf("\n", longSource), longSource / 2);
    const more = element("span", { class: "more" }, ` … ${(text.length - cut).toLocaleString("en")} more characters`);
    return element("details", {}, element("summary", {}, text.slice(0, cut), more), text.slice(cut));
  };

  const block = (name, language, score, ...content) => element("div", { class: content[0] instanceof Element && content[0].matches("details") ? "wide" : null },
    element("h4", {}, name, ...(score === null ? [] : [element("span", { class: "last" }, ` · ${score}`)])),
    element("div", { class: "text", lang: language, dir: "auto" }, ...content));

  for (const root of document.querySelectorAll("[data-explorer]")) {
    const data = JSON.parse(root.querySelector("[data-examples]").textContent);
    const [controls, list, count, pages] = ["controls", "list", "count", "pages"].map((name) => root.querySelector(`[data-${name}]`));
    const { query, order, differing } = controls.elements;
    const alone = data.systems.length === 1;
    const folded = data.examples.map((example) =>
      [example.id, example.source, ...example.references, ...example.outputs].join("\n").normalize("NFKC").toLowerCase());
    let page = 0;

    const article = (example) => {
      const score = (i) => (example.scores[i] === null ? null : `${data.metric} ${example.scores[i]}`);
      const texts = [
        ...(example.source ? [block(data.sourceName, example.sourceLanguage, null, folding(example.source))] : []),
        ...example.outputs.map((text, i) => block(data.systems[i], example.language, score(i),
          ...(text === null ? ["–"] : text === "" ? [element("span", { class: "aside" }, "(empty)")] : marked(text, example.references)))),
        ...example.references.map((text, i) =>
          block(example.references.length > 1 ? `reference ${i + 1}` : "reference", example.language, null,
            ...(alone && example.outputs[0] ? marked(text, example.outputs) : [text]))),
      ];
      return element("article", { class: "sample" }, element("h3", {}, element("bdi", {}, example.id)), element("div", { class: "texts" }, ...texts));
    };

    const differ = ({ outputs, references }) =>
      (alone ? !references.includes(outputs[0]) : new Set(outputs).size > 1);

    const chosen = () => {
      const wanted = query.value.normalize("NFKC").toLowerCase().split(/\s+/).filter(Boolean);
      const found = data.examples.map((example, i) => i).filter((i) => wanted.every((word) => folded[i].includes(word))
        && (!differing.checked || differ(data.examples[i])));
      const [kind, first, second] = order.value.split(" ");
      const sign = data.higherIsBetter ? 1 : -1;
      const value = (i, system) => sign * (data.examples[i].scores[system] ?? NaN);
      const key = { given: () => 0, worst: (i) => value(i, first), gain: (i) => value(i, second) - value(i, first) }[kind];
      const keys = new Map(found.map((i) => [i, key(i)]));
      return found.sort((a, b) => (Number.isNaN(keys.get(a)) - Number.isNaN(keys.get(b))) || keys.get(a) - keys.get(b) || a - b);
    };

    const show = () => {
      const found = chosen();
      const last = Math.max(0, Math.ceil(found.length / data.page) - 1);
      page = Math.min(Math.max(page, 0), last);
      const start = page * data.page;
      const here = found.slice(start, start + data.page);
      list.replaceChildren(...here.map((i) => article(data.examples[i])));
      const shown = data.examples.length.toLocaleString("en");
      const all = data.total > data.examples.length ? `${shown} (evenly spaced, of ${data.total.toLocaleString("en")})` : shown;
      count.textContent = found.length
        ? `${(start + 1).toLocaleString("en")} to ${(start + here.length).toLocaleString("en")} of ${found.length.toLocaleString("en")} found, ${all} in all.`
        : `Nothing found among ${all} examples.`;
      pages.hidden = last === 0;
      pages.querySelector("[data-previous]").disabled = page === 0;
      pages.querySelector("[data-next]").disabled = page === last;
    };

    const turn = (by) => { page += by; show(); count.scrollIntoView({ block: "nearest" }); };
    controls.addEventListener("input", () => { page = 0; show(); });
    controls.addEventListener("submit", (event) => event.preventDefault());
    pages.querySelector("[data-previous]").addEventListener("click", () => turn(-1));
    pages.querySelector("[data-next]").addEventListener("click", () => turn(1));
    controls.hidden = false;
    show();
  }
})();
