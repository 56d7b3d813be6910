"use strict";
// Everything that a person or a model wrote is put into the page as text, and nothing of it is ever parsed.
(() => {
  const TEXTS = {
    ja: {
      title: "回答くらべ", asked: "質問", reasons: "理由（任意、いくつでも）", next: "次へ", board: "順位表", place: "順位",
      model: "モデル", rating: "レーティング", votes: "票", language: "English", a: "回答A", b: "回答B", vote: "投票",
      left: "Aがよい (1)", right: "Bがよい (2)", tie: "同じくらい (3)", both_bad: "どちらも悪い (4)",
      correct: "正確", useful: "役に立つ", natural: "日本語が自然", concise: "簡潔", harmless: "安全",
      ask: "どちらの回答がよいか選んでください。", done: "すべて終わりました。ありがとうございました。",
      thanks: "投票しました。Aは {left}、Bは {right} でした。", refused: "この組にはもう投票できません。次へ進みます。",
      wait: "少し待ってからもう一度試してください。", invite: "招待リンクから入ってください。", broken: "通信できませんでした。",
      few: "現在 {votes} 票。{needed} 票から表示します。", counted: "{votes} 票から。", modes: "種類", stored: "用意された質問",
      live: "自分で質問する", prompt: "質問を書いてください。二つのモデルが答えます。", send: "送る (Ctrl+Enter)",
      again: "続けて質問する（投票の前に）", go_on: "続ける", write: "質問を書いて送ってください。", writing: "二つのモデルが書いています。",
      failed: "回答が届きませんでした。もう一度送ってください。", had: "この質問はもう送られたか、開いた組があります。",
      category: "分野", every: "すべて", style: "長さや書式の影響を除く", ties: "引き分けを別に数える", refresh: "更新",
    },
    en: {
      title: "Which answer is better?", asked: "Question", reasons: "Reasons (any number, or none)", next: "Next",
      board: "Leaderboard", place: "Place", model: "Model", rating: "Rating", votes: "Votes", language: "日本語",
      a: "Answer A", b: "Answer B", vote: "Vote", left: "A is better (1)", right: "B is better (2)", tie: "About the same (3)",
      both_bad: "Both are bad (4)", correct: "correct", useful: "useful", natural: "natural Japanese", concise: "concise",
      harmless: "harmless", ask: "Choose the better answer.", done: "That was all. Thank you.",
      thanks: "Your vote counts. A was {left}, B was {right}.", refused: "This pair is decided already. On to the next.",
      wait: "Wait a little, then try again.", invite: "Come in by your invitation.", broken: "The server does not answer.",
      few: "{votes} votes so far; shown from {needed} on.", counted: "From {votes} votes.", modes: "Kind",
      stored: "Prepared questions", live: "Ask yourself", prompt: "Write a question. Two models will answer it.",
      send: "Send (Ctrl+Enter)", again: "Ask further before you vote", go_on: "Go on", write: "Write a question and send it.",
      writing: "Two models are writing.", failed: "An answer did not come. Send it again.",
      had: "This question was sent before, or another pair is open.", category: "Category", every: "All",
      style: "Without length and layout", ties: "Ties as an outcome of their own", refresh: "Refresh",
    },
  };
  const CHOICES = ["left", "right", "tie", "both_bad"];
  const REASONS = ["correct", "useful", "natural", "concise", "harmless"];
  const SIDES = { left: "a", right: "b" };
  const REFRESH_MS = 30000;
  const at = (id) => document.getElementById(id);
  const all = (query) => document.querySelectorAll(query);
  let language = navigator.language.startsWith("ja") ? "ja" : "en";
  let about = { stored: true, live: false, most_turns: 1, most_prompt_chars: 2000 };
  let mode = "stored";
  let duel = null;
  let said = ["ask", {}];
  let names = null;
  let standing = null;

  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const text = (key, values = {}) =>
    Object.entries(values).reduce((made, [name, value]) => made.split(`{${name}}`).join(String(value)), TEXTS[language][key]);
  const say = (key, values = {}) => { said = [key, values]; at("status").textContent = text(key, values); };

  const draw = () => {
    document.documentElement.lang = language;
    document.title = text("title");
    for (const one of all("[data-text]")) one.textContent = text(one.dataset.text);
    for (const one of all("[data-choice]")) one.textContent = text(one.dataset.choice);
    for (const one of all("[data-reason]")) one.textContent = text(one.dataset.reason);
    for (const one of all("[data-side]")) one.textContent = text(SIDES[one.dataset.side]) + (names ? `: ${names[one.dataset.side]}` : "");
    for (const one of all("[data-mode]")) one.setAttribute("aria-pressed", String(one.dataset.mode === mode));
    at("modes").hidden = !(about.stored && about.live);
    at("modes").setAttribute("aria-label", text("modes"));
    at("votes").setAttribute("aria-label", text("vote"));
    at("language").textContent = text("language");
    at("status").textContent = text(...said);
    if (standing) rank();
  };

  const call = async (path, body) => {
    const options = body ? { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) } : {};
    const reply = await fetch(path, options);
    if (reply.status === 403) say("invite");
    if (reply.status === 429) say("wait");
    return { status: reply.status, value: reply.ok ? await reply.json() : null };
  };

  const rank = () => {
    at("board-note").textContent = text(standing.rows.length ? "counted" : "few", { votes: standing.votes, needed: standing.needed });
    const chosen = at("category").value;
    at("category").replaceChildren(make("option", { value: "" }, text("every")), ...standing.categories.map((one) => make("option", { value: one }, one)));
    at("category").value = standing.categories.includes(chosen) ? chosen : "";
    at("board").hidden = !standing.rows.length;
    at("board").querySelector("tbody").replaceChildren(...standing.rows.map((row) => {
      const span = row.interval ? `${row.interval[0]} – ${row.interval[1]}` : "–";
      const number = { class: "n" };
      return make("tr", {}, make("td", {}, String(row.place)), make("th", { scope: "row" }, row.model),
        make("td", number, String(row.rating ?? "–")), make("td", {}, span), make("td", number, String(row.votes)));
    }));
  };

  const refresh = async () => {
    const asked = new URLSearchParams({ category: at("category").value, style: String(at("style").checked), ties: at("ties").checked ? "davidson" : "half" });
    const { value } = await call(`/api/leaderboard?${asked}`);
    if (value) { standing = value; rank(); }
  };

  const turn = (one) => {
    const shown = {};
    const sides = Object.keys(SIDES).map((side) => {
      shown[side] = make("p", { class: `text ${side}`, lang: "ja", tabindex: "0", "aria-busy": String(one[side] === null) }, one[side] ?? "");
      return make("section", {}, make("h3", { "data-side": side }), shown[side]);
    });
    at("turns").append(make("p", { class: "text question", lang: "ja" }, one.prompt), make("div", { class: "sides" }, ...sides));
    return shown;
  };

  const settle = () => {
    for (const button of all("[data-choice]")) button.disabled = !duel || !duel.ready || Boolean(names);
    at("duel").hidden = !duel;
    at("next").hidden = !names;
    at("asking").hidden = mode !== "live" || Boolean(duel);
    at("more").hidden = !(mode === "live" && duel && duel.ready && !names && duel.turns.length < about.most_turns);
  };

  const show = (value) => {
    names = null;
    duel = value && !value.done ? value : null;
    at("turns").replaceChildren();
    for (const box of all("#reasons input")) box.checked = false;
    const shown = duel ? duel.turns.map(turn) : [];
    settle();
    say(duel ? (duel.ready ? "ask" : "writing") : mode === "live" ? "write" : "done");
    draw();
    if (duel && !duel.ready) guarded(() => watch(shown[shown.length - 1]))();
  };

  const load = async () => {
    const { value } = await call(mode === "live" ? "/api/open" : "/api/duel");
    if (value) show(value);
  };

  // Lines of JSON, one whenever an answer has grown, until both are whole.
  const watch = async (shown) => {
    const mine = duel.id;
    const reply = await fetch(`/api/stream/${mine}`);
    if (!reply.ok) { await load(); return; }
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const told = JSON.parse(line);
        if (!duel || duel.id !== mine) return;
        if (told.side) {
          shown[told.side].textContent = told.text;
          shown[told.side].setAttribute("aria-busy", String(!told.whole));
        } else if (told.ready) {
          duel.ready = true;
          settle();
          say("ask");
        } else {
          show(null);
          say("failed");
        }
      }
    }
  };

  const send = async (box, more) => {
    if (!box.value.trim()) return;
    const { status, value } = await call("/api/prompt", more ? { prompt: box.value, duel: duel.id } : { prompt: box.value });
    if (value) { box.value = ""; show(value); }
    else if (status === 409) { await load(); say("had"); }
  };

  const vote = async (winner) => {
    if (!duel || !duel.ready || names) return;
    for (const button of all("[data-choice]")) button.disabled = true;
    const reasons = [...all("#reasons input:checked")].map((box) => box.value);
    const { status, value } = await call("/api/vote", { duel: duel.id, winner, reasons });
    if (value) {
      names = value;
      settle();
      say("thanks", value);
      draw();
      at("next").focus();
      await refresh();
    } else if (status === 409) {
      await load();
      say("refused");
    } else {
      settle();
    }
  };

  const enter = async () => {
    const { value } = await call("/api/about");
    if (!value) return;
    about = value;
    mode = about.live ? "live" : "stored";
    for (const box of [at("prompt"), at("again")]) box.maxLength = about.most_prompt_chars;
    await load();
    await refresh();
    setInterval(() => { if (!document.hidden) refresh().catch(() => {}); }, REFRESH_MS);
  };

  const guarded = (work) => () => work().catch(() => say("broken"));
  for (const choice of CHOICES) {
    const button = make("button", { type: "button", "data-choice": choice, "aria-keyshortcuts": String(CHOICES.indexOf(choice) + 1) });
    button.addEventListener("click", guarded(() => vote(choice)));
    at("votes").append(button);
  }
  for (const reason of REASONS) {
    at("reasons").append(make("label", {}, make("input", { type: "checkbox", value: reason }), " ", make("span", { "data-reason": reason })));
  }
  for (const [form, box, more] of [["asking", "prompt", false], ["more", "again", true]]) {
    at(form).addEventListener("submit", (event) => { event.preventDefault(); guarded(() => send(at(box), more))(); });
    at(box).addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); at(form).requestSubmit(); }
    });
  }
  for (const button of all("[data-mode]")) button.addEventListener("click", guarded(async () => { mode = button.dataset.mode; await load(); }));
  for (const one of ["category", "style", "ties"]) at(one).addEventListener("change", guarded(refresh));
  at("refresh").addEventListener("click", guarded(refresh));
  at("next").addEventListener("click", guarded(async () => { await load(); if (mode === "live" && !duel) at("prompt").focus(); else at("turns").querySelector("[tabindex]")?.focus(); }));
  at("language").addEventListener("click", () => { language = language === "ja" ? "en" : "ja"; draw(); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.matches("input, textarea, select")) return;
    const choice = CHOICES["1234".indexOf(event.key)];
    if (choice && event.key.length === 1) guarded(() => vote(choice))();
  });
  draw();
  guarded(enter)();
})();
