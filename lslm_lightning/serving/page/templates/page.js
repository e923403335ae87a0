// Sends the forms to the server's routes and shows the answers below them.
{
  const keyField = document.getElementById("key");
  const stored = (change) => { try { return change(sessionStorage); } catch { return null; } }; // it may be forbidden
  if (keyField) {
    keyField.value = stored((storage) => storage.getItem("lslm-key")) ?? "";
    keyField.addEventListener("input", () => stored((storage) => storage.setItem("lslm-key", keyField.value)));
    keyField.form.addEventListener("submit", (event) => event.preventDefault());
    keyField.form.hidden = false;
  }

  // An error of the API, which has its code and the field that is wrong, in one of two forms.
  const refusal = ({ error, ...more }, seconds = "3") => {
    const known = typeof error === "string" ? { ...more, message: error } : error;
    return Object.assign(new Error(known.message), { isRefusal: true, code: known.code, param: known.param, seconds });
  };
  const reason = async (response) => {
    const text = await response.text();
    const seconds = response.headers.get("Retry-After") ?? undefined;
    try {
      return refusal(JSON.parse(text), seconds);
    } catch {
      return refusal({ error: `${response.status} ${response.statusText}` }, seconds);
    }
  };

  // An error in the words of the page, by its code; its message in English follows where that tells more.
  const explained = (error, form) => {
    if (!error.isRefusal) return [error.message];
    const known = about.problems[error.code];
    const hasDetails = !known || about.detailed.includes(error.code);
    if (hasDetails && document.documentElement.lang === "en") return [error.message];
    const field = form.elements[about.fieldOf[error.param] ?? error.param]?.labels?.[0]?.textContent;
    const megabytes = form.elements.sound ? about.megabytes.sound : about.megabytes.text;
    const words = known ? inserted(known, { megabytes, seconds: error.seconds })
      : field ? t("The server refuses the field “{field}”.", { field }) : t("The server refuses this.");
    return hasDetails ? [words, element("span", { class: "detail", lang: "en", dir: "ltr" }, error.message)] : [words];
  };

  const send = async (path, body, signal) => {
    const headers = keyField?.value ? { Authorization: `Bearer ${keyField.value}` } : {};
    const isForm = body instanceof FormData;
    if (!isForm) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(path, { method: "POST", headers, body: isForm ? body : JSON.stringify(body), signal });
    } catch (error) {
      throw error.name === "AbortError" ? error : new Error(t("The server cannot be reached."));
    }
    if (!response.ok) throw await reason(response);
    return response;
  };
  const ask = async (...request) => (await send(...request)).json();

  // Server-sent events until the end. Source: HTML Living Standard, section 9.2.
  const events = async function* (response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const lines = (rest + part.value).split(/\r?\n/);
      rest = lines.pop();
      for (const line of lines) if (line.startsWith("data:") && line.slice(5).trim() !== "[DONE]") yield JSON.parse(line.slice(5));
    }
  };

  const given = (form, name) => (form.elements[name]?.value === "" ? undefined : Number(form.elements[name]?.value));
  const language = (code) => code ?? "und";

  // What each function asks, and the blocks of the answer; `show` replaces what is shown.
  const functions = {
    translate: async (form, model, signal) => {
      const q = form.elements.text.value;
      const { abilities, source, target } = model;
      const alternatives = abilities.includes("n_best") ? given(form, "alternatives") ?? 0 : 0;
      const isLine = q.trim().split(/\r?\n/).length === 1; // lines are translated one by one
      const attention = abilities.includes("attention") && isLine;
      const search = alternatives ? "beam" : undefined;
      const answer = await ask("translate", { q, source: source ?? "auto", target: target ?? "auto", alternatives, search, model: model.name, attention }, signal);
      const texts = [answer.translatedText, ...(answer.alternatives ?? [])];
      const scores = abilities.includes("log_prob") && isLine
        ? (await ask("log_prob", { source: q.trim(), answers: texts, model: model.name }, signal)).scores : [];
      const rows = texts.map((text, i) => (scores.length ? [text, scores[i].log_prob] : [text]));
      return [
        answerBlock(texts[0], language(target)),
        ...(texts.length > 1 ? [table(t("Alternatives"), [t("output"), t("log p")].slice(0, rows[0].length), rows)]
          : facts({ [t("log p")]: scores[0]?.log_prob })),
        ...(answer.attention?.weights?.length ? [heatmap(answer.attention, language(source), language(target))] : []),
      ];
    },
    summarize: async (form, model, signal) => {
      const { summary } = await ask("summarize", { text: form.elements.text.value, model: model.name }, signal);
      return [answerBlock(summary, language(model.target))];
    },
    ask: async (form, model, signal) => {
      const passage = form.elements.passage.value;
      const answer = await ask("answer", { question: form.elements.question.value, context: passage, model: model.name }, signal);
      const figures = { [t("log p")]: answer.log_prob, [t("no-answer score")]: answer.no_answer_score };
      const isMarked = (answer.start ?? null) !== null && (answer.end ?? null) !== null;
      return [
        answer.answer ? textBlock(answer.answer, language(model.target)) : paragraph(t(about.noAnswer)),
        ...(isMarked ? [textBlock(passage, language(model.source), [answer.start, answer.end])] : []),
        ...facts(figures),
      ];
    },
    continue: async (form, model, signal, show) => {
      const prompt = form.elements.text.value;
      const stream = model.abilities.includes("stream");
      const logprobs = model.abilities.includes("stop") ? about.nTop : undefined;
      const body = { model: model.name, prompt, temperature: given(form, "temperature"), max_tokens: given(form, "max_tokens"), seed: given(form, "seed"), stream, logprobs };
      const response = await send("v1/completions", body, signal);
      const tokens = [];
      let [text, first, reason] = ["", null, null];
      const draw = () => shades(prompt, text, tokens, language(model.target));
      let isDue = false;
      for await (const part of stream ? events(response) : [await response.json()]) {
        if (part.error) throw refusal(part);
        for (const choice of part.choices ?? []) {
          text += choice.text;
          reason = choice.finish_reason ?? reason;
          const found = choice.logprobs;
          found?.tokens.forEach((token, i) => {
            first ??= found.text_offset[i];
            tokens.push({ text: token, logP: found.token_logprobs[i], offset: found.text_offset[i] - first, top: Object.entries(found.top_logprobs?.[i] ?? {}).sort((a, b) => b[1] - a[1]) });
          });
        }
        if (isDue) continue;
        isDue = true;
        requestAnimationFrame(() => { isDue = false; if (!signal.aborted) show(draw()); });
      }
      return [draw(), ...(tokens.length ? [tokenTable(tokens)] : []), ...(reason === "length" ? [paragraph(t(about.cut))] : [])];
    },
    transcribe: async (form, model, signal) => {
      const body = new FormData();
      const [file] = form.elements.sound.files;
      if (file.size > 1e6 * about.megabytes.sound) throw refusal({ error: "", code: "body_too_large" }); // else the connection ends
      body.append("file", file);
      body.append("model", model.name);
      const { text } = await ask("v1/audio/transcriptions", body, signal);
      return [answerBlock(text, language(model.target))];
    },
  };

  for (const form of document.querySelectorAll("[data-function]")) {
    const [status, problem, stop] = ["status", "error", "stop"].map((name) => form.querySelector(`[data-${name}]`));
    const result = form.parentElement.querySelector("[data-result]");
    const tell = (text) => { status.textContent = text; };
    const fail = (...words) => { tell(""); problem.replaceChildren(...words); };
    let running = null;
    stop.addEventListener("click", () => running?.abort());
    form.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit(); });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      running?.abort();
      const own = new AbortController();
      running = own;
      problem.textContent = "";
      result.replaceChildren();
      result.setAttribute("aria-busy", "true");
      stop.hidden = false;
      tell(t("Working …"));
      const began = performance.now();
      try {
        const blocks = await functions[form.dataset.function](form, about.models[form.elements.model.value], own.signal, (...blocks) => { if (running === own) result.replaceChildren(...blocks); });
        if (running !== own) return;
        result.replaceChildren(...blocks);
        tell(t("Done in {seconds} s.", { seconds: number((performance.now() - began) / 1000, 1) }));
      } catch (error) {
        if (running !== own) return;
        if (error.name === "AbortError") tell(t("Stopped."));
        else fail(...explained(error, form));
      }
      running = null;
      stop.hidden = true;
      result.removeAttribute("aria-busy");
    });
    if (form.dataset.function === "transcribe") setUpRecording(form, tell, fail);
  }

  const starting = document.querySelector("[data-starting]");
  if (starting) {
    const look = async () => {
      const response = await fetch("ready").catch(() => null);
      if (!response?.ok) setTimeout(look, 2000);
      else if (document.querySelector("[data-function]")) starting.remove(); // keeps what was typed
      else location.reload();
    };
    look();
  }
}
