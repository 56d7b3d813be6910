"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const COLOURS = ["#2f6f8f", "#c2572b", "#5b8a3a", "#8a4f9e", "#b08a1e", "#3f3f8f", "#a03050", "#2f8f7f", "#777777", "#d07fa8"];
  const canvas = document.getElementById("map");
  const told = document.getElementById("told");
  const controls = document.getElementById("controls");
  const hidden = new Set();
  const EDGE = 14;
  const WHOLE = { x: 0.5, y: 0.5, scale: 1 };
  let view = WHOLE;
  let words = "";
  let chosen = -1;

  const element = (name, text) => {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    return made;
  };
  const colour = (group) => COLOURS[group % COLOURS.length];
  const shown = (point) => !hidden.has(point[0]);
  const hit = (point) => words !== "" && point[4].normalize("NFKC").toLowerCase().includes(words);

  // Training texts are squares, an arena's prompts diamonds, questions discs: told apart without colours too.
  const trace = (pen, kind, x, y, size) => {
    pen.beginPath();
    if (kind === "training") pen.rect(x - size, y - size, 2 * size, 2 * size);
    else if (kind === "arena") {
      pen.moveTo(x, y - 1.5 * size);
      pen.lineTo(x + 1.5 * size, y);
      pen.lineTo(x, y + 1.5 * size);
      pen.lineTo(x - 1.5 * size, y);
      pen.closePath();
    } else pen.arc(x, y, size, 0, 2 * Math.PI);
  };
  const place = (point) => [
    EDGE + ((point[1] - view.x) * view.scale + 0.5) * (canvas.clientWidth - 2 * EDGE),
    EDGE + ((view.y - point[2]) * view.scale + 0.5) * (canvas.clientHeight - 2 * EDGE),
  ];
  // What lies at a place of the canvas, on the map.
  const under = (x, y) => [
    view.x + ((x - EDGE) / (canvas.clientWidth - 2 * EDGE) - 0.5) / view.scale,
    view.y - ((y - EDGE) / (canvas.clientHeight - 2 * EDGE) - 0.5) / view.scale,
  ];
  const zoom = (times, x, y) => {
    const [ax, ay] = under(x, y);
    const scale = Math.min(60, Math.max(1, view.scale * times));
    const rest = view.scale / scale;
    view = scale === 1 ? WHOLE : { x: ax + (view.x - ax) * rest, y: ay + (view.y - ay) * rest, scale };
    draw();
  };

  const draw = () => {
    const scale = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * scale;
    canvas.height = canvas.clientHeight * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
    let count = 0;
    let hits = 0;
    const order = data.points.map((_, at) => at).sort((a, b) => drawn(a) - drawn(b));
    for (const at of order) {
      const point = data.points[at];
      if (!shown(point)) continue;
      const [x, y] = place(point);
      const found = hit(point);
      count += 1;
      hits += found;
      pen.globalAlpha = words && !found ? 0.12 : data.groups[point[0]].kind === "training" ? 0.45 : 0.8;
      pen.fillStyle = colour(point[0]);
      trace(pen, data.groups[point[0]].kind, x, y, found ? 4.5 : 2.5);
      pen.fill();
    }
    if (chosen >= 0 && shown(data.points[chosen])) {
      const [x, y] = place(data.points[chosen]);
      pen.globalAlpha = 1;
      pen.lineWidth = 2;
      pen.strokeStyle = getComputedStyle(document.body).color;
      pen.beginPath();
      pen.arc(x, y, 8, 0, 2 * Math.PI);
      pen.stroke();
    }
    document.getElementById("count").textContent = `${count} of ${data.points.length} texts` + (words ? `, ${hits} with the words` : "");
  };
  const drawn = (at) => (data.groups[data.points[at][0]].kind === "training" ? 0 : 1);

  const tell = (at) => {
    if (at < 0 || at === chosen) return;
    chosen = at;
    const [group, , , id, text, near, likeness] = data.points[at];
    const { kind, name } = data.groups[group];
    told.replaceChildren(element("h2", `${name} (${kind}), ${id}`), element("div", text));
    if (near !== null) told.append(element("h2", `Nearest training text, likeness ${likeness.toFixed(2)}`), element("div", near));
    draw();
  };
  const closest = (x, y) => {
    let best = -1;
    let distance = 20 * 20;
    data.points.forEach((point, at) => {
      if (!shown(point)) return;
      const [px, py] = place(point);
      const apart = (px - x) ** 2 + (py - y) ** 2 - (hit(point) ? 40 : 0);
      if (apart < distance) [best, distance] = [at, apart];
    });
    return best;
  };

  data.groups.forEach(({ kind, name }, at) => {
    const label = element("label");
    const box = element("input");
    const sign = element("i");
    box.type = "checkbox";
    box.checked = true;
    sign.style.background = colour(at);
    sign.className = kind;
    box.addEventListener("change", () => {
      if (box.checked) hidden.delete(at);
      else hidden.add(at);
      draw();
    });
    const count = data.points.filter((point) => point[0] === at).length;
    label.append(box, sign, `${name} (${kind}, ${count})`);
    controls.append(label);
  });
  const search = element("input");
  search.type = "search";
  search.placeholder = "words in the texts";
  search.setAttribute("aria-label", "Words in the texts");
  search.addEventListener("input", () => {
    words = search.value.normalize("NFKC").toLowerCase().trim();
    draw();
  });
  controls.append(search);
  controls.addEventListener("submit", (event) => event.preventDefault());
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons !== 1) return tell(closest(event.offsetX, event.offsetY));
    const [x, y] = under(event.offsetX - event.movementX, event.offsetY - event.movementY);
    const [toX, toY] = under(event.offsetX, event.offsetY);
    view = { ...view, x: view.x + x - toX, y: view.y + y - toY };
    draw();
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    },
    { passive: false },
  );
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "0") {
      view = WHOLE;
      return draw();
    }
    if (["+", ";", "-"].includes(event.key)) {
      const middle = chosen < 0 ? [canvas.clientWidth / 2, canvas.clientHeight / 2] : place(data.points[chosen]);
      return zoom(event.key === "-" ? 1 / 1.5 : 1.5, ...middle);
    }
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    for (let n = 1, size = data.points.length; n <= size; n += 1) {
      const at = (((chosen + step * n) % size) + size) % size;
      if (shown(data.points[at])) return tell(at);
    }
  });
  window.addEventListener("resize", draw);
  draw();
})();
