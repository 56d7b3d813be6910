"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = Object.fromEntries(data.columns.map((name, index) => [name, index]));
  const get = (row, name) => (name in at ? row[at[name]] : null);
  const prompt = (row) => data.prompts[get(row, "prompt")];
  const controls = document.getElementById("controls");
  const main = document.getElementById("rows");
  const more = document.getElementById("more");
  const PAGE = 50;
  let found = [];
  let shown = 0;

  const element = (name, text, kind) => {
    const made = document.createElement(name);
    if (text !== undefined && text !== null) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };

  const choose = (label, name, options) => {
    const holder = element("label", label);
    const select = element("select");
    select.name = name;
    for (const [value, text] of options) {
      const option = element("option", text);
      option.value = value;
      select.append(option);
    }
    holder.append(select);
    controls.append(holder);
  };

  const flagged = (row) => (get(row, "flags") || []).length > 0;
  const right = (row) => get(row, "lenient") !== null && get(row, "lenient") > 0.5;
  const kinds = {
    right: ["right", right],
    wrong: ["wrong", (row) => get(row, "lenient") !== null && !right(row)],
    form: ["right, in the wrong form", (row) => right(row) && !(get(row, "strict") > 0.5)],
    badform: ["form not kept", (row) => get(row, "format_ok") === false],
    flagged: ["degenerate", flagged],
    flipped: ["flipped between models", (row) => get(row, "flipped") === true],
    contaminated: ["contaminated", (row) => get(row, "contaminated") === true],
    failed: ["no answer came back", (row) => Boolean(get(row, "failure"))],
  };

  const searched = data.rows.map((row) =>
    [get(row, "id"), prompt(row), get(row, "output"), get(row, "understood"), (get(row, "gold") || []).join("\n"), get(row, "judged")]
      .join("\n").normalize("NFKC").toLowerCase());

  const build = () => {
    for (const name of data.filters) {
      const values = [...new Set(data.rows.map((row) => get(row, name)))].filter((value) => value !== null).sort();
      if (values.length > 1) choose(name, name, [["", "all"], ...values.map((value) => [value, value])]);
    }
    const there = Object.entries(kinds).filter(([, [, test]]) => data.rows.some(test));
    choose("answers", "kind", [["", "all"], ...there.map(([value, [text]]) => [value, text])]);
    const flags = [...new Set(data.rows.flatMap((row) => get(row, "flags") || []))].sort();
    if (flags.length) choose("flag", "flag", [["", "any"], ...flags.map((value) => [value, value])]);
    const holder = element("label", "search", "wide");
    const input = element("input");
    input.type = "search";
    input.name = "text";
    holder.append(input);
    controls.append(holder);
  };

  const filter = () => {
    const want = Object.fromEntries(new FormData(controls));
    const text = (want.text || "").normalize("NFKC").toLowerCase();
    found = data.rows.filter((row, index) =>
      data.filters.every((name) => !want[name] || get(row, name) === want[name]) &&
      (!want.kind || kinds[want.kind][1](row)) &&
      (!want.flag || (get(row, "flags") || []).includes(want.flag)) &&
      (!text || searched[index].includes(text)));
    main.replaceChildren();
    shown = 0;
    const all = data.total > data.rows.length ? ` (the page holds ${data.rows.length} of ${data.total})` : "";
    document.getElementById("count").textContent = `${found.length} of ${data.rows.length} answers${all}`;
    grow();
  };

  const grow = () => {
    for (const row of found.slice(shown, shown + PAGE)) main.append(card(row));
    shown = Math.min(shown + PAGE, found.length);
    more.hidden = shown >= found.length;
  };

  const number = (value) => (value === null ? "–" : Number.isInteger(value) ? String(value) : value.toFixed(2));

  const badges = (row) => {
    const list = element("ul", null, "badges");
    const add = (text, kind) => list.append(element("li", text, kind));
    if (get(row, "failure")) {
      add("no answer", "bad");
    } else if (get(row, "strict") === null) {
      if (get(row, "rating") !== null) add(`rating ${number(get(row, "rating"))}`, "note");
      if (get(row, "verdict") !== null) add(`verdict: ${get(row, "verdict")}`, "note");
    } else {
      add(`strict ${number(get(row, "strict"))}`, get(row, "strict") > 0.5 ? "good" : "bad");
      add(`lenient ${number(get(row, "lenient"))}`, right(row) ? "good" : "bad");
      add(get(row, "format_ok") ? "form kept" : "form not kept", get(row, "format_ok") ? "good" : "bad");
    }
    for (const flag of get(row, "flags") || []) add(flag, "bad");
    if (get(row, "flipped")) add("flipped", "note");
    if (get(row, "contaminated")) add("contaminated", "note");
    return list;
  };

  const card = (row) => {
    const made = element("article");
    const where = ["task", "id", "model", "mode", "style", "phrasing"].map((name) => get(row, name)).filter(Boolean);
    made.append(element("h2", where.join(" · ")), badges(row));
    const list = element("dl");
    const pair = (name, text) => {
      const value = element("dd", text);
      value.lang = "ja";
      list.append(element("dt", name), value);
    };
    if (get(row, "failure")) pair("why", get(row, "failure"));
    else pair("output", get(row, "output") === "" ? "(nothing)" : get(row, "output"));
    if (get(row, "understood") !== null) pair("understood as", get(row, "understood"));
    if ((get(row, "gold") || []).length) pair("right", get(row, "gold").join(" / "));
    if (get(row, "judged")) pair("judged", get(row, "judged"));
    made.append(list);
    const details = element("details");
    const text = element("div", prompt(row));
    text.lang = "ja";
    details.append(element("summary", "prompt as it was sent"), text);
    made.append(details);
    return made;
  };

  build();
  controls.addEventListener("input", filter);
  controls.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", grow);
  filter();
})();
