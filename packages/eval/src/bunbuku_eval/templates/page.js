"use strict";
// Reads values off the lines of a chart under the pointer; opens the artifact that an address names; copies commands.
(() => {
  const make = (name, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };
  const scale = (text) => {
    const [low, high, start, end] = text.split(",").map(Number);
    return (place) => low + ((place - start) / (end - start)) * (high - low);
  };
  const shown = (value) => (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4))));

  for (const chart of document.querySelectorAll("svg.lines")) {
    const x = scale(chart.dataset.x), y = scale(chart.dataset.y);
    const lines = [...chart.querySelectorAll("polyline")].map((line) => ({
      name: line.dataset.name,
      points: line.getAttribute("points").split(" ").map((pair) => pair.split(",").map(Number)),
    }));
    const layer = chart.appendChild(make("g", { "pointer-events": "none" }));
    chart.addEventListener("pointerleave", () => layer.replaceChildren());
    chart.addEventListener("pointermove", (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse()).x;
      layer.replaceChildren();
      if (!lines.length) return;
      const near = lines.map((line) => ({
        name: line.name,
        point: line.points.reduce((best, one) => (Math.abs(one[0] - at) < Math.abs(best[0] - at) ? one : best)),
      }));
      const place = near.reduce((best, one) => (Math.abs(one.point[0] - at) < Math.abs(best - at) ? one.point[0] : best), near[0].point[0]);
      layer.append(make("line", { class: "cross", x1: place, x2: place, y1: 12, y2: 230 }));
      const left = place > 250;
      near.filter((one) => Math.abs(one.point[0] - place) < 4).forEach((one, index) => {
        const text = make("text", { class: "readout", x: place + (left ? -7 : 7), y: 24 + 15 * index, "text-anchor": left ? "end" : "start" });
        text.textContent = `${one.name}  ${shown(y(one.point[1]))}  at ${shown(x(one.point[0]))}`;
        layer.append(text);
      });
    });
  }

  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") {
      target.open = true;
      target.scrollIntoView({ block: "start" });
    }
  };
  addEventListener("hashchange", open);
  open();

  for (const button of document.querySelectorAll("button.copy")) {
    button.addEventListener("click", async () => {
      const text = button.parentElement.querySelector("code").textContent;
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(button.parentElement.querySelector("code"));
        button.textContent = "selected";
      }
      setTimeout(() => (button.textContent = "copy"), 1500);
    });
  }
})();
