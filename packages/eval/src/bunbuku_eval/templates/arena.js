"use strict";
(() => {
  const TEXTS = {
    ja: {
      title: "回答くらべ", asked: "質問", reasons: "理由（任意、いくつでも）", next: "次へ", board: "順位表", place: "順位",
      model: "モデル", rating: "レーティング", votes: "票", language: "English", a: "回答A", b: "回答B",
      left: "Aがよい (1)", right: "Bがよい (2)", tie: "同じくらい (3)", both_bad: "どちらも悪い (4)",
      correct: "正確", useful: "役に立つ", natural: "日本語が自然", concise: "簡潔", harmless: "安全",
      ask: "どちらの回答がよいか選んでください。", done: "すべて終わりました。ありがとうございました。",
      thanks: "投票しました。Aは {left}、Bは {right} でした。", refused: "この組にはもう投票できません。次へ進みます。",
      wait: "少し待ってからもう一度試してください。", invite: "招待リンクから入ってください。", broken: "通信できませんでした。",
      few: "現在 {votes} 票。{needed} 票から表示します。", counted: "{votes} 票から。",
    },
    en: {
      title: "Which answer is better?", asked: "Question", reasons: "Reasons (any number, or none)", next: "Next",
      board: "Leaderboard", place: "Place", model: "Model", rating: "Rating", votes: "Votes", language: "日本語",
      a: "Answer A", b: "Answer B", left: "A is better (1)", right: "B is better (2)", tie: "About the same (3)",
      both_bad: "Both are bad (4)", correct: "correct", useful: "useful", natural: "natural Japanese", concise: "concise",
      harmless: "harmless", ask: "Choose the better answer.", done: "That was all. Thank you.",
      thanks: "Your vote counts. A was {left}, B was {right}.", refused: "This pair is decided already. On to the next.",
      wait: "Wait a little, then try again.", invite: "Come in by your invitation.", broken: "The server does not answer.",
      few: "{votes} votes so far; shown from {needed} on.", counted: "From {votes} votes.",
    },
  };
  const CHOICES = ["left", "right", "tie", "both_bad"];
  const REASONS = ["correct", "useful", "natural", "concise", "harmless"];
  const at = (id) => document.getElementById(id);
  let language = navigator.language.startsWith("ja") ? "ja" : "en";
  let duel = null;
  let said = ["ask", {}];
  let names = null;
  let standing = null;

  const text = (key, values = {}) =>
    Object.entries(values).reduce((made, [name, value]) => made.split(`{${name}}`).join(String(value)), TEXTS[language][key]);
  const say = (key, values = {}) => { said = [key, values]; at("status").textContent = text(key, values); };

  const draw = () => {
    document.documentElement.lang = language;
    document.title = text("title");
    for (const one of document.querySelectorAll("[data-text]")) one.textContent = text(one.dataset.text);
    for (const one of document.querySelectorAll("[data-choice]")) one.textContent = text(one.dataset.choice);
    for (const one of document.querySelectorAll("[data-reason]")) one.textContent = text(one.dataset.reason);
    at("language").textContent = text("language");
    at("name-left").textContent = names ? `${text("a")}: ${names.left}` : text("a");
    at("name-right").textContent = names ? `${text("b")}: ${names.right}` : text("b");
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
    at("board").hidden = !standing.rows.length;
    const body = at("board").querySelector("tbody");
    body.replaceChildren();
    for (const row of standing.rows) {
      const line = document.createElement("tr");
      const span = row.interval ? `${row.interval[0]} – ${row.interval[1]}` : "–";
      for (const value of [row.place, row.model, row.rating ?? "–", span, row.votes]) {
        const cell = document.createElement("td");
        cell.textContent = value;
        line.append(cell);
      }
      body.append(line);
    }
  };

  const refresh = async () => {
    const { value } = await call("/api/leaderboard");
    if (value) { standing = value; rank(); }
  };

  const load = async () => {
    const { value } = await call("/api/duel");
    if (!value) return;
    names = null;
    duel = value.done ? null : value;
    at("duel").hidden = !duel;
    at("next").hidden = true;
    if (!duel) { say("done"); return; }
    for (const side of ["question", "left", "right"]) at(side).textContent = duel[side];
    for (const box of document.querySelectorAll("#reasons input")) box.checked = false;
    for (const button of document.querySelectorAll("[data-choice]")) button.disabled = false;
    say("ask");
    draw();
    at("asked").scrollIntoView({ block: "nearest" });
  };

  const vote = async (winner) => {
    if (!duel || names) return;
    for (const button of document.querySelectorAll("[data-choice]")) button.disabled = true;
    const reasons = [...document.querySelectorAll("#reasons input:checked")].map((box) => box.value);
    const { status, value } = await call("/api/vote", { duel: duel.id, winner, reasons });
    if (value) {
      names = value;
      say("thanks", value);
      draw();
      at("next").hidden = false;
      at("next").focus();
      await refresh();
    } else if (status === 409) {
      say("refused");
      await load();
    } else {
      for (const button of document.querySelectorAll("[data-choice]")) button.disabled = false;
    }
  };

  const guarded = (work) => () => work().catch(() => say("broken"));
  for (const choice of CHOICES) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.choice = choice;
    button.addEventListener("click", guarded(() => vote(choice)));
    at("votes").append(button);
  }
  for (const reason of REASONS) {
    const label = document.createElement("label");
    const box = document.createElement("input");
    const name = document.createElement("span");
    box.type = "checkbox";
    box.value = reason;
    name.dataset.reason = reason;
    label.append(box, " ", name);
    at("reasons").append(label);
  }
  at("next").addEventListener("click", guarded(load));
  at("language").addEventListener("click", () => { language = language === "ja" ? "en" : "ja"; draw(); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.matches("input")) return;
    const choice = CHOICES["1234".indexOf(event.key)];
    if (choice && event.key.length === 1) guarded(() => vote(choice))();
  });
  draw();
  guarded(async () => { await load(); await refresh(); })();
})();
