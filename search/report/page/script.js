"use strict";
// Sorting, filtering and learning curves. The page is complete without it; all values come from the page.

// Tables: a click on a header sorts by it, largest number or first name first; missing values stay last.
function sortBy(table, index, ascending) {
  const numeric = table.tHead.rows[0].cells[index].classList.contains("number");
  const keyed = [...table.tBodies[0].rows].map((row, place) => {
    const order = row.cells[index].dataset.order;
    const number = Number(order);
    return { row, place, missing: order === undefined, key: numeric && !Number.isNaN(number) ? number : order };
  });
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  keyed.sort((a, b) => {
    if (a.missing || b.missing) return a.missing - b.missing || a.place - b.place;
    return (ascending ? 1 : -1) * compare(a.key, b.key) || a.place - b.place;
  });
  table.tBodies[0].append(...keyed.map((entry) => entry.row));
}

for (const table of document.querySelectorAll("main table")) {
  if (!table.querySelector("[data-order]")) continue;
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const ascending = now === "none" ? !head.classList.contains("number") : now === "descending";
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sortBy(table, index, ascending);
    });
  });
}

for (const field of document.querySelectorAll("input[data-filters]")) {
  const rows = [...document.getElementById(field.dataset.filters).tBodies[0].rows];
  const count = document.querySelector(`[data-counts="${field.dataset.filters}"]`);
  field.closest(".filter").hidden = false;
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const cells = [...row.cells].map((cell) => cell.textContent.trim().toLowerCase());
      row.hidden = !words.every((word) => cells.some((cell) => cell.includes(word)));
    }
    count.value = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
  });
}

// Paper cannot be unfolded.
matchMedia("print").addEventListener("change", (print) => {
  for (const folded of document.querySelectorAll("details")) folded.open ||= print.matches;
});

// Learning curves with a readout, in place of the figure that is shown without this script.
const NS = "http://www.w3.org/2000/svg";
const FRAME = { width: 440, height: 270, left: 46, right: 12, top: 28, bottom: 34 };

function element(name, attributes, text) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function mean(values) {
  const there = values.filter((value) => value !== null);
  return there.length ? there.reduce((sum, value) => sum + value, 0) / there.length : null;
}

function means(folds) {
  return folds[0].map((_, place) => mean(folds.map((fold) => fold[place])));
}

function steps(low, high) {
  const rough = (high - low) / 6 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step / 1e6; tick += step) ticks.push(tick);
  return { ticks, digits: Math.max(0, -Math.floor(Math.log10(step))) };
}

function drawPanel(panel, epochs) {
  const { width, height, left, right, top, bottom } = FRAME;
  const values = [...panel.train, ...panel.val].flat().filter((value) => value !== null);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const first = epochs[0];
  const last = epochs[epochs.length - 1];
  const x = (epoch) => left + ((width - left - right) * (epoch - first)) / (last - first || 1);
  const y = (value) => top + ((height - top - bottom) * (high - value)) / (high - low || 1);
  const svg = element("svg", {
    viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "img",
    "aria-label": `${panel.name} over ${epochs.length} epochs; the arrow keys select one; the table below shows its values`,
  });
  svg.append(element("text", { x: left, y: 16, class: "name" }, panel.name));
  svg.append(element("text", { x: width - right - 138, y: 16, class: "label", "text-anchor": "end" }, "training"));
  svg.append(element("text", { x: width - right, y: 16, class: "label of-val", "text-anchor": "end" }, "validation (dashed)"));
  const { ticks, digits } = steps(low, high);
  for (const tick of ticks) {
    svg.append(element("path", { class: "grid", d: `M${left} ${y(tick)}H${width - right}` }));
    svg.append(element("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, tick.toFixed(digits)));
  }
  const every = Math.ceil(epochs.length / 8);
  epochs.filter((_, place) => place % every === 0).forEach((epoch) => {
    svg.append(element("text", { x: x(epoch), y: height - bottom + 16, "text-anchor": "middle" }, epoch));
  });
  svg.append(element("text", { x: (left + width - right) / 2, y: height - 3, "text-anchor": "middle" }, "epoch"));
  for (const part of ["train", "val"]) {
    const lines = [...panel[part].map((fold) => [fold, ""]), [means(panel[part]), " mean"]];
    for (const [line, kind] of lines) {
      let pen = "M";
      const d = line.map((value, place) => {
        const point = value === null ? "" : `${pen}${x(epochs[place]).toFixed(1)} ${y(value).toFixed(1)}`;
        pen = value === null ? "M" : "L";
        return point;
      });
      svg.append(element("path", { class: `${part}${kind}`, d: d.join("") }));
    }
  }
  const at = svg.appendChild(element("path", { class: "at" }));
  const nearest = (event) => {
    const box = svg.getBoundingClientRect();
    const place = first + (((event.clientX - box.left) / box.width) * width - left) / (width - left - right) * (last - first);
    return epochs.reduce((best, epoch, index) => (Math.abs(epoch - place) < Math.abs(epochs[best] - place) ? index : best), 0);
  };
  return { svg, nearest, mark: (index) => at.setAttribute("d", `M${x(epochs[index])} ${top}V${height - bottom}`) };
}

function tableCell(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function readOff(table, data, index) {
  const show = (value) => (value === null ? "–" : value.toFixed(3));
  const heads = [`epoch ${data.epochs[index]}`, "mean", ...data.folds.map((fold) => `fold ${fold}`)];
  const head = document.createElement("tr");
  head.append(...heads.map((name) => tableCell("th", name, { scope: "col", class: "number" })));
  const rows = data.panels.flatMap((panel) => [["training", panel.train], ["validation", panel.val]].map(([part, folds]) => {
    const values = folds.map((fold) => fold[index]);
    const row = document.createElement("tr");
    row.append(tableCell("th", `${part} ${panel.name}`, { scope: "row" }));
    row.append(...[mean(values), ...values].map((value) => tableCell("td", show(value), { class: "number" })));
    return row;
  }));
  const parts = [document.createElement("thead"), document.createElement("tbody")];
  parts[0].append(head);
  parts[1].append(...rows);
  table.replaceChildren(...parts);
}

const source = document.getElementById("curves-data");
if (source) {
  const data = JSON.parse(source.textContent);
  const place = document.getElementById("curves");
  const panels = data.panels.filter((panel) => [...panel.train, ...panel.val].flat().some((value) => value !== null))
    .map((panel) => drawPanel(panel, data.epochs));
  let chosen = data.epochs.length - 1;
  const choose = (index) => {
    chosen = Math.max(0, Math.min(data.epochs.length - 1, index));
    for (const panel of panels) panel.mark(chosen);
    readOff(document.getElementById("read-off"), data, chosen);
  };
  for (const panel of panels) {
    for (const kind of ["pointermove", "pointerdown"]) {
      panel.svg.addEventListener(kind, (event) => choose(panel.nearest(event)));
    }
    panel.svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      choose(chosen + step);
    });
  }
  place.querySelector(".panels").append(...panels.map((panel) => panel.svg));
  choose(chosen);
  place.hidden = false;
  const figure = document.getElementById("figure-curves");
  if (figure) figure.hidden = true;
}
