"use strict";
// Reads values off all charts at the place under the pointer; a stretch that is dragged over is looked at closer, in all
// charts at once; while the run goes, the page is loaded again every so often, unless somebody is looking closer.
(() => {
  const make = (name, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };
  const axis = ([low, high, start, end, log]) => {
    const to = log ? Math.log10 : (value) => value, from = log ? (value) => 10 ** value : (value) => value;
    const a = to(low), b = to(high);
    return {
      low, high, start, end, log,
      at: (value) => start + ((to(value) - a) / (b - a)) * (end - start),
      of: (place) => from(a + ((place - start) / (end - start)) * (b - a)),
    };
  };
  const parsed = (text) => axis(text.split(",").map(Number));
  const exact = (value) => (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4))));
  const short = (value) => {
    for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
      if (Math.abs(value) >= size) return Number((value / size).toPrecision(4)) + unit;
    return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(0) : String(Number(value.toPrecision(4)));
  };
  const ticks = (low, high, log) => {
    const found = [];
    if (log && high / low > 5) {
      const many = Math.log10(high / low) > 3;
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
        for (const factor of many ? [1] : [1, 2, 5]) found.push(factor * 10 ** power);
      return found.filter((value) => value >= low && value <= high);
    }
    const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough * (1 - 1e-9));
    for (let index = Math.ceil(low / step - 1e-9); index * step <= high * (1 + 1e-9); index++) found.push(index * step);
    return found;
  };

  const charts = [...document.querySelectorAll("svg.chart")].map((svg, number) => {
    const x = parsed(svg.dataset.x), heat = svg.classList.contains("heat");
    const marks = [...svg.querySelectorAll(".mark")].map((node) => ({ node, at: Number(node.dataset.at) }));
    const chart = { svg, full: x, x, heat, marks, ticks: svg.querySelector(".x-ticks") };
    if (heat) {
      chart.rows = JSON.parse(svg.dataset.rows);
      chart.values = JSON.parse(svg.dataset.values);
      chart.span = svg.dataset.span.split(",").map(Number);
      chart.image = svg.querySelector(".window image");
      chart.width = Number(chart.image.getAttribute("width"));
    } else {
      chart.fullY = chart.y = parsed(svg.dataset.y);
      chart.yTicks = svg.querySelector(".y-ticks");
      const clip = make("clipPath", { id: `clip-${number}` });
      clip.append(make("rect", { x: x.start - 3, y: chart.y.end - 3, width: x.end - x.start + 6, height: chart.y.start - chart.y.end + 6 }));
      svg.append(clip);
      chart.lines = [...svg.querySelectorAll("polyline")].map((node) => {
        const dots = node.nextElementSibling?.classList.contains("dots") ? [...node.nextElementSibling.children] : [];
        for (const one of [node, ...dots]) one.setAttribute("clip-path", `url(#clip-${number})`);
        const points = node.getAttribute("points").split(" ").map((pair) => pair.split(",").map(Number));
        return { node, dots, name: node.dataset.name, points: points.map(([a, b]) => [x.of(a), chart.y.of(b)]) };
      });
    }
    chart.layer = svg.appendChild(make("g", { "pointer-events": "none" }));
    svg.classList.add("ready");
    return chart;
  });

  const back = document.querySelector(".back");
  const zoom = (low, high) => {
    back.hidden = low === null;
    for (const chart of charts) {
      const { full } = chart;
      const [a, b] = low === null ? [full.low, full.high] : [Math.max(low, full.low), Math.min(high, full.high)];
      if (!(b > a)) continue;
      chart.x = axis([a, b, full.start, full.end, 0]);
      if (chart.heat) {
        const scale = (full.high - full.low) / (b - a);
        chart.image.setAttribute("width", chart.width * scale);
        chart.image.setAttribute("x", (-(a - full.low) / (full.high - full.low)) * chart.width * scale);
      } else {
        const seen = chart.lines.flatMap((line) => line.points.filter(([at]) => at >= a && at <= b).map((point) => point[1]));
        chart.y = chart.fullY;
        if (low !== null && seen.length) {
          const least = Math.min(...seen), most = Math.max(...seen), { start, end, log } = chart.fullY;
          const room = log ? (most / least) ** 0.06 : (most - least) * 0.06;
          if (most > least) chart.y = axis(log ? [least / room, most * room, start, end, 1] : [least - room, most + room, start, end, 0]);
        }
        for (const line of chart.lines) {
          const places = line.points.map(([p, q]) => [chart.x.at(p), chart.y.at(q)]);
          line.node.setAttribute("points", places.map(([p, q]) => `${p.toFixed(1)},${q.toFixed(1)}`).join(" "));
          line.dots.forEach((dot, index) => { dot.setAttribute("cx", places[index][0]); dot.setAttribute("cy", places[index][1]); });
        }
        chart.yTicks.replaceChildren(...ticks(chart.y.low, chart.y.high, chart.y.log).flatMap((value) => {
          const y = chart.y.at(value), text = make("text", { class: "tick", x: full.start - 7, y: y + 4, "text-anchor": "end" });
          text.textContent = short(value);
          return [make("line", { class: "grid", x1: full.start, x2: full.end, y1: y, y2: y }), text];
        }));
      }
      chart.ticks.replaceChildren(...ticks(a, b, 0).map((value) => {
        const text = make("text", { class: "tick", x: chart.x.at(value), y: chart.ticks.dataset.y, "text-anchor": "middle" });
        text.textContent = short(value);
        return text;
      }));
      for (const { node, at } of chart.marks) {
        node.setAttribute("visibility", at < a || at > b ? "hidden" : "visible");
        const place = chart.x.at(at);
        const [line, circle] = [node.querySelector("line"), node.querySelector("circle")];
        line.setAttribute("x1", place); line.setAttribute("x2", place); circle.setAttribute("cx", place);
      }
    }
  };

  const read = (tokens, own, height) => {
    for (const chart of charts) {
      chart.layer.replaceChildren();
      if (tokens < chart.x.low || tokens > chart.x.high) continue;
      const place = chart.x.at(tokens), left = place > 290;
      const top = chart.heat ? chart.span[0] : chart.y.end, bottom = chart.heat ? chart.span[1] : chart.y.start;
      chart.layer.append(make("line", { class: "cross", x1: place, x2: place, y1: top, y2: bottom }));
      let said = [];
      if (chart.heat) {
        const share = (tokens - chart.full.low) / (chart.full.high - chart.full.low);
        const column = chart.values[Math.min(chart.values.length - 1, Math.floor(share * chart.values.length))];
        if (chart.svg === own && column && height >= top && height < bottom) {
          const row = Math.min(chart.rows.length - 1, Math.floor(((bottom - height) / (bottom - top)) * chart.rows.length));
          const name = /^\d+$/.test(chart.rows[row]) ? `layer ${chart.rows[row]}` : chart.rows[row];
          if (column[row] !== null) said = [`${name}  ${exact(column[row])}`];
        }
      } else {
        said = chart.lines.filter((line) => line.points.length).map((line) => {
          const near = line.points.reduce((best, one) => (Math.abs(one[0] - tokens) < Math.abs(best[0] - tokens) ? one : best));
          return `${chart.lines.length > 1 ? line.name + "  " : ""}${exact(near[1])}`;
        });
      }
      if (chart.svg === own) said.push(`${exact(tokens)} tokens`);
      said.forEach((text, index) => {
        const node = make("text", { class: "readout", x: place + (left ? -7 : 7), y: top + 13 + 14 * index, "text-anchor": left ? "end" : "start" });
        node.textContent = text;
        chart.layer.append(node);
      });
    }
  };
  const point = (chart, event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.svg.getScreenCTM().inverse());
  const inside = (chart, x) => Math.min(Math.max(x, chart.full.start), chart.full.end);
  let dragged = null;
  for (const chart of charts) {
    chart.svg.addEventListener("pointerdown", (event) => { dragged = { chart, from: inside(chart, point(chart, event).x) }; event.preventDefault(); });
    chart.svg.addEventListener("pointermove", (event) => {
      const { x, y } = point(chart, event), place = inside(chart, x);
      read(chart.x.of(place), chart.svg, y);
      if (dragged?.chart === chart) {
        const top = chart.heat ? chart.span[0] : chart.y.end, bottom = chart.heat ? chart.span[1] : chart.y.start;
        chart.layer.prepend(make("rect", { class: "chosen", x: Math.min(place, dragged.from), width: Math.abs(place - dragged.from), y: top, height: bottom - top }));
      }
    });
    chart.svg.addEventListener("pointerup", (event) => {
      const place = inside(chart, point(chart, event).x);
      if (dragged?.chart === chart && Math.abs(place - dragged.from) > 6) {
        const [a, b] = [chart.x.of(place), chart.x.of(dragged.from)].sort((one, other) => one - other);
        zoom(a, b);
      }
      dragged = null;
    });
    chart.svg.addEventListener("pointerleave", () => { dragged = null; for (const one of charts) one.layer.replaceChildren(); });
    chart.svg.addEventListener("dblclick", () => zoom(null));
  }
  back.addEventListener("click", () => zoom(null));
  addEventListener("keydown", (event) => { if (event.key === "Escape") zoom(null); });

  const every = Number(document.body.dataset.every);
  if (every) setInterval(() => { if (back.hidden && !dragged) location.reload(); }, every * 1000);
})();
