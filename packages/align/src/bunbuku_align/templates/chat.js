"use strict";
// What is said, by either side, only ever becomes text: nothing here makes markup of a string.
const WORDS = {
  ja: { new: "新しい会話", models: "モデル", style: "話し方", system: "システムプロンプト（空なら標準）", temperature: "温度",
        top_p: "top-p", max_tokens: "最大トークン数", seed: "シード", send: "送信", other: "English", say: "メッセージ（Enterで送信、Shift+Enterで改行）",
        keep: "保存", kept: "保存しました: ", length: "（長さの上限で終わりました）", stop: "止める", stopped: "（止めました）",
        too_long: "会話が長すぎて、このモデルには収まりません。「新しい会話」で始め直してください。", lost: "サーバーに届きません。動いていますか。",
        refused: "サーバーが受け付けませんでした。", error: "モデルが答えられませんでした。" },
  en: { new: "New conversation", models: "Models", style: "Style", system: "System prompt (empty: the default)", temperature: "Temperature",
        top_p: "Top-p", max_tokens: "Most tokens", seed: "Seed", send: "Send", other: "日本語", say: "Message (Enter sends, Shift+Enter breaks the line)",
        keep: "Keep", kept: "Kept: ", length: "(ended by the limit of length)", stop: "Stop", stopped: "(stopped)",
        too_long: "The conversation is too long for this model: begin a new one.", lost: "The server cannot be reached. Is it running?",
        refused: "The server did not take the question.", error: "The model could not answer." },
};
const find = (id) => document.getElementById(id);
const make = (tag, name, text) => {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
};
let about, language, columns = [], busy = 0, stopping = null;

function speak(to) {
  language = to;
  document.documentElement.lang = to;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = WORDS[to][element.dataset.text];
  find("language").textContent = WORDS[to].other;
  find("text").placeholder = WORDS[to].say;
  for (const option of find("style").options) option.textContent = about.styles[option.value][to];
}

function column(model) {
  const box = make("div", "column"), head = make("h2"), turns = make("div", "turns");
  head.append(make("span", "", model));
  if (about.keeps) {
    const button = make("button", "", WORDS[language].keep);
    button.type = "button";
    button.dataset.text = "keep";
    button.onclick = () => keep(own);
    head.append(button);
  }
  box.append(head, turns);
  const own = { model, box, turns, messages: [] };
  return own;
}

function arrange() {
  const chosen = [...document.querySelectorAll("#models input:checked")].map((input) => input.value);
  columns = chosen.map((model) => columns.find((one) => one.model === model) || column(model));
  find("columns").replaceChildren(...columns.map((one) => one.box));
}

function show(one, role, text) {
  const turn = make("div", "turn " + role, text);
  one.turns.append(turn);
  one.turns.scrollTop = one.turns.scrollHeight;
  return turn;
}

function withSystem(one) {
  const system = find("system").value;
  return system ? [{ role: "system", content: system }, ...one.messages] : one.messages;
}

class Refused extends Error {}

async function post(path, body, signal) {
  const reply = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });
  if (!reply.ok) {
    const told = await reply.text();
    throw new Refused(told.slice(0, 500));
  }
  return reply;
}

// A sentence for a person, and then what the server said of it.
function failed(turn, piece) {
  const words = WORDS[language];
  turn.textContent = words[piece.reason] || words.error;
  turn.classList.add("error");
  turn.append(make("span", "note", piece.text));
}

async function answer(one) {
  const turn = show(one, "assistant writing", "");
  let piece = { text: "", finish: null };
  try {
    const reply = await post("/ask", {
      model: one.model, messages: withSystem(one), temperature: +find("temperature").value, top_p: +find("top_p").value,
      max_tokens: +find("max_tokens").value, seed: +find("seed").value,
    }, stopping.signal);
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        piece = JSON.parse(line);
        turn.textContent = piece.text;
      }
      one.turns.scrollTop = one.turns.scrollHeight;
    }
    if (piece.finish === null) piece = { text: piece.text, finish: "error", reason: "lost" };
  } catch (error) {
    if (stopping.signal.aborted) piece = { text: piece.text, finish: "stopped" };
    else piece = { text: String(error.message || error), finish: "error", reason: error instanceof Refused ? "refused" : "lost" };
  }
  turn.classList.remove("writing");
  if (piece.finish === "error") {
    failed(turn, piece);
    one.messages.pop(); // the question that got no answer
    return;
  }
  if (piece.finish !== "stop") turn.append(make("span", "note", WORDS[language][piece.finish]));
  if (piece.text) one.messages.push({ role: "assistant", content: piece.text });
  else one.messages.pop(); // stopped before its first letter, or nothing was said
}

async function say(text) {
  if (!text || busy) return;
  find("send").disabled = true;
  find("stop").disabled = false;
  stopping = new AbortController();
  busy = columns.length;
  await Promise.all(columns.map(async (one) => {
    one.messages.push({ role: "user", content: text });
    show(one, "user", text);
    await answer(one);
    busy -= 1;
  }));
  find("send").disabled = false;
  find("stop").disabled = true;
  document.body.dataset.answered = String(Number(document.body.dataset.answered || 0) + 1);
}

async function keep(one) {
  if (!one.messages.length || busy) return;
  try {
    const reply = await post("/keep", { model: one.model, messages: withSystem(one) });
    one.turns.append(make("span", "note", WORDS[language].kept + (await reply.json()).kept));
  } catch (error) {
    one.turns.append(make("span", "note", String(error.message || error)));
  }
}

async function begin() {
  about = await (await fetch("/about")).json();
  about.models.forEach((model, index) => {
    const label = make("label"), input = make("input");
    input.type = "checkbox";
    input.value = model;
    input.checked = index < 2;
    input.onchange = arrange;
    label.append(input, make("span", "", model));
    find("models").append(label);
  });
  for (const name of Object.keys(about.styles)) {
    const option = make("option");
    option.value = name;
    find("style").append(option);
  }
  find("style").value = about.style;
  find("style").onchange = () => { find("system").value = about.styles[find("style").value].system; };
  find("style").onchange();
  speak(about.language);
  arrange();
  find("language").onclick = () => speak(language === "ja" ? "en" : "ja");
  find("stop").onclick = () => stopping && stopping.abort();
  find("new").onclick = () => { if (!busy) { columns = []; arrange(); } };
  const send = () => { const text = find("text").value.trim(); find("text").value = ""; say(text); };
  find("say").onsubmit = (event) => { event.preventDefault(); send(); };
  find("text").onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
  };
  const first = new URLSearchParams(location.hash.slice(1)); // #say=… asks at once, &tokens=… how long
  if (first.has("tokens")) find("max_tokens").value = first.get("tokens");
  if (first.has("language") && WORDS[first.get("language")]) speak(first.get("language"));
  for (const text of first.getAll("say")) await say(text);
}
begin();
