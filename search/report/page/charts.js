// Kinds of charts, drawn with uPlot: rows of points with intervals, scattered points, and lines over epochs.
// Colours are those of the page's style sheet, so charts follow light and dark.

const FONT = "12px system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";
const LOOKS = {
  better: { colour: "--green", shape: "▸" }, worse: { colour: "--orange", shape: "◂" },
  "practically the same": { colour: "--blue", shape: "■" }, open: { colour: "--quiet", shape: "○" },
  plain: { colour: "--blue", shape: "●" },
};
const WAYS = [["--ink", "○"], ["--blue", "●"], ["--orange", "■"], ["--green", "▸"], ["--amber", "◂"]];

const scheme = matchMedia("(prefers-color-scheme: dark)");
const palette = new Map();
scheme.addEventListener("change", () => palette.clear());

function colour(name) {
  if (!palette.has(name)) palette.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  return palette.get(name);
}

const measured = document.createElement("canvas").getContext("2d");

function textWidth(text) {
  measured.font = FONT;
  return measured.measureText(text).width;
}

// A name in at most two lines of so many pixels; what does not fit ends in "…", and hovering shows it in full.
function fitted(text, width) {
  const fit = (part) => {
    if (textWidth(part) <= width) return part;
    let end = part.length;
    while (end > 1 && textWidth(`${part.slice(0, end)}…`) > width) end -= 1;
    return `${part.slice(0, end)}…`;
  };
  if (textWidth(text) <= width) return text;
  const breaks = [...text.matchAll(/[\s\-+_]/g)].map((match) => match.index + 1).filter((end) => textWidth(text.slice(0, end)) <= width);
  const end = breaks.at(-1);
  return end === undefined ? fit(text) : `${text.slice(0, end).trim()}\n${fit(text.slice(end))}`;
}

function make(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// The decimals that an increment such as 0.025 needs.
const digitsOf = (increment) => [0, 1, 2, 3, 4, 5].find((n) => Math.abs(increment * 10 ** n - Math.round(increment * 10 ** n)) < 1e-6) ?? 6;
const minus = (text) => text.replace("-", "−");
const ticksText = (u, splits, axis, space, increment) =>
  splits.map((value) => (value === null ? null : minus(value.toFixed(digitsOf(increment)))));

// The limits of a scale that holds all values, with some space around them.
function limits(values, share = 0.06) {
  const there = values.filter((value) => value !== null && value !== undefined && Number.isFinite(value));
  if (!there.length) return [0, 1];
  const low = there.reduce((a, b) => Math.min(a, b));
  const high = there.reduce((a, b) => Math.max(a, b));
  const space = share * (high - low) || Math.abs(high) * share || 0.5;
  return [low - space, high + space];
}

function drawPoint(context, shape, x, y, size, ink, fill) {
  context.beginPath();
  context.lineWidth = 1.6 * devicePixelRatio;
  context.strokeStyle = ink;
  context.fillStyle = fill;
  const side = size * devicePixelRatio;
  if (shape === "○" || shape === "●") context.arc(x, y, side, 0, 2 * Math.PI);
  else if (shape === "■") context.rect(x - side, y - side, 2 * side, 2 * side);
  else if (shape === "▸" || shape === "◂") {
    const tip = shape === "▸" ? side : -side;
    context.moveTo(x + 1.2 * tip, y);
    context.lineTo(x - tip, y - side);
    context.lineTo(x - tip, y + side);
    context.closePath();
  } else if (shape === "×") {
    context.moveTo(x - side, y - side); context.lineTo(x + side, y + side);
    context.moveTo(x - side, y + side); context.lineTo(x + side, y - side);
  } else if (shape === "|") {
    context.moveTo(x, y - side); context.lineTo(x, y + side);
  }
  context.fill();
  context.stroke();
}

function drawLine(context, x0, y0, x1, y1, ink, width = 1, dash = []) {
  context.beginPath();
  context.strokeStyle = ink;
  context.lineWidth = width * devicePixelRatio;
  context.setLineDash(dash.map((part) => part * devicePixelRatio));
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
  context.setLineDash([]);
}

// A chart in its place: fits the place's width, shows a text at what is hovered over, and calls back on a click.
// `options(width)` gives uPlot's options and data; `text(item)` the lines to show; `at(u)` the item under the cursor;
// `where(u, item)` its position in the plot; `items()` all of them in the order of the arrow keys.
function chart(place, { label, height, options, data, at, where, text, items, choose }) {
  const root = place.appendChild(make("div", "", { class: "plot", tabindex: 0, role: "application", "aria-label": label }));
  const tip = root.appendChild(make("div", "", { class: "tip", role: "status" }));
  tip.hidden = true;
  let u = null;
  let now = null;
  const show = (item) => {
    now = item;
    tip.hidden = item === null;
    if (item === null) return;
    tip.replaceChildren(...text(item).map((line, place) => make(place ? "span" : "b", line)));
    const [left, top] = where(u, item);
    const x = u.over.offsetLeft + left;
    const y = u.over.offsetTop + top;
    tip.style.maxWidth = `${Math.min(320, root.clientWidth)}px`;
    tip.style.left = `${Math.max(0, Math.min(x - tip.offsetWidth / 2, root.clientWidth - tip.offsetWidth))}px`;
    tip.style.top = `${y - tip.offsetHeight - 12 < 0 ? y + 14 : y - tip.offsetHeight - 12}px`;
  };
  const draw = () => {
    const width = Math.floor(root.clientWidth);
    if (!width) return;
    u?.destroy();
    tip.hidden = true;
    const own = options(width);
    u = new uPlot({
      width, height: height(width), legend: { show: false }, pxAlign: 0,
      cursor: { x: false, y: false, points: { show: false }, drag: { x: false, y: false, setScale: false }, ...own.cursor },
      ...own, scales: own.scales, select: { show: false },
      hooks: { ...own.hooks, setCursor: [(self) => self.cursor.left >= 0 && show(at(self))] },
    }, data(), root);
    u.over.addEventListener("mouseleave", () => show(null));
    u.over.addEventListener("click", () => { if (now !== null && choose) choose(now); });
  };
  root.addEventListener("keydown", (event) => {
    const all = items();
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (step && all.length) {
      event.preventDefault();
      const place = all.indexOf(now);
      show(all[place < 0 ? (step > 0 ? 0 : all.length - 1) : Math.max(0, Math.min(all.length - 1, place + step))]);
    } else if (event.key === "Enter" && now !== null && choose) choose(now);
    else if (event.key === "Escape") show(null);
  });
  root.addEventListener("blur", () => show(null));
  new ResizeObserver(() => { if (u === null || Math.floor(root.clientWidth) !== u.width) draw(); }).observe(root);
  scheme.addEventListener("change", draw);
  draw();
  return { draw, light: () => u?.redraw(false) };
}

function axis(label, more = {}) {
  return {
    stroke: () => colour("--quiet"), font: FONT, labelFont: FONT, label, labelSize: 20, size: 30,
    grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false }, values: ticksText, space: 55, ...more,
  };
}

// Rows of points with intervals: effects, scores, transfer. Lit rows have a shade and a bold name.
function rowsChart(place, spec, { label, lit, choose }) {
  let panel = spec.panels[0];
  const names = spec.rows.map(([name]) => name);
  const isLit = (row) => spec.rows[row][1].includes(lit());
  const look = (series, row, nth) => {
    if (series.mark) return { colour: "--ink", shape: "|" };
    if (series.looks) return LOOKS[series.looks[row]] ?? LOOKS.open;
    if (panel.series.length > 1 && series.name && !panel.series.some((other) => other.mark)) {
      return { colour: WAYS[nth % WAYS.length][0], shape: WAYS[nth % WAYS.length][1] };
    }
    return LOOKS.plain;
  };
  const offsets = () => {
    const main = panel.series.filter((series) => !series.mark);
    return panel.series.map((series) => (series.mark ? 0.26 : main.length > 1 ? (main.indexOf(series) / (main.length - 1) - 0.5) * 0.6 : 0));
  };
  const many = () => panel.series.filter((series) => !series.mark).length;
  const number = (value) => (value === null || value === undefined ? "–"
    : panel.signed ? `${value > 0 ? "+" : ""}${minus(value.toFixed(panel.band === undefined ? 3 : 1))}` : value.toFixed(3));
  const shade = (u) => {
    for (let row = 0; row < names.length; row += 1) {
      if (!isLit(row)) continue;
      const [from, to] = [row - 0.5, row + 0.5].map((end) => u.valToPos(end, "x", true));
      u.ctx.fillStyle = colour("--lit-shade");
      u.ctx.fillRect(0, from, u.bbox.left + u.bbox.width, to - from);
    }
  };
  const paint = (u) => {
    const { ctx } = u;
    const { left, top, width, height } = u.bbox;
    const x = (value) => u.valToPos(value, "y", true);
    const y = (row) => u.valToPos(row, "x", true);
    ctx.save();
    if (panel.band !== undefined) {
      ctx.fillStyle = colour("--shade");
      ctx.globalAlpha = 0.4;
      ctx.fillRect(Math.max(left, x(-panel.band)), top, Math.min(left + width, x(panel.band)) - Math.max(left, x(-panel.band)), height);
      ctx.globalAlpha = 1;
    }
    if (panel.signed) drawLine(ctx, x(0), top, x(0), top + height, colour("--quiet"));
    const shift = offsets();
    panel.series.forEach((series, nth) => {
      for (let row = 0; row < names.length; row += 1) {
        const middle = series.mid[row];
        if (middle === null || middle === undefined) continue;
        const own = look(series, row, nth);
        const ink = colour(own.colour);
        const at = y(row + shift[nth]);
        const bold = isLit(row);
        if (series.bar) {
          ctx.fillStyle = ink;
          ctx.fillRect(x(0), y(row - 0.3), x(middle) - x(0), y(row + 0.3) - y(row - 0.3));
          continue;
        }
        if (series.low && series.low[row] !== null) {
          drawLine(ctx, x(series.low[row]), at, x(series.high[row]), at, ink, bold ? 3.5 : 1.8);
          for (const end of [series.low[row], series.high[row]]) {
            drawLine(ctx, x(end), at - 4 * devicePixelRatio, x(end), at + 4 * devicePixelRatio, ink, bold ? 2.5 : 1.5);
          }
        }
        const size = series.mark ? 4 : bold ? 6 : 4.5;
        drawPoint(ctx, own.shape, x(middle), at, size, ink, own.shape === "○" ? colour("--paper") : ink);
      }
    });
    ctx.restore();
  };
  const values = () => panel.series.flatMap((series) => [...series.mid, ...(series.low ?? []), ...(series.high ?? [])]);
  const key = place.appendChild(make("p", "", { class: "key" }));
  const drawKey = () => {
    const entries = new Map();
    panel.series.forEach((series, nth) => series.mid.forEach((value, row) => {
      const own = look(series, row, nth);
      const name = series.looks ? series.looks[row] ?? "too few data to judge" : series.name;
      if (name && value !== null) entries.set(name, own);
    }));
    key.replaceChildren(...[...entries].map(([name, own]) => {
      const entry = make("span", ` ${name}`);
      const mark = make("i", "", { "data-mark": own.shape });
      mark.style.color = `var(${own.colour})`;
      entry.prepend(mark);
      return entry;
    }));
    if (panel.band !== undefined) key.append(make("span", `▒ margin, ±${panel.band}`));
  };
  const drawn = chart(place, {
    label, choose: (row) => { const own = spec.rows[row][1]; if (own.length) choose(own[(own.indexOf(lit()) + 1) % own.length]); },
    height: () => 62 + names.length * (many() > 2 ? 46 : 30),
    data: () => [names.map((_, row) => row), names.map(() => null)],
    items: () => names.map((_, row) => row),
    at: (u) => { const row = Math.round(u.posToVal(u.cursor.top, "x")); return row >= 0 && row < names.length ? row : null; },
    where: (u, row) => [u.valToPos(panel.series[0].mid[row] ?? 0, "y"), u.valToPos(row, "x")],
    text: (row) => [names[row], ...panel.series.filter((series) => series.mid[row] !== null && series.mid[row] !== undefined).map((series) => {
      const interval = series.low && series.low[row] !== null ? ` (${number(series.low[row])} to ${number(series.high[row])})` : "";
      return `${series.name ? `${series.name}: ` : ""}${number(series.mid[row])}${interval}${series.looks?.[row] ? `: ${series.looks[row]}` : ""}`;
    })],
    options: (width) => {
      const room = Math.min(0.42 * width, Math.max(...names.map(textWidth)) + 4);
      const size = Math.ceil(Math.min(room, Math.max(...names.map((name) => Math.max(...fitted(name, room).split("\n").map(textWidth)))) + 4)) + 10;
      const around = limits(panel.signed || panel.series[0].bar ? [...values(), 0] : values());
      return {
        scales: {
          x: { ori: 1, dir: -1, time: false, range: [-0.6, names.length - 0.4] },
          y: { ori: 0, dir: 1, range: panel.series[0].bar ? [0, around[1]] : around },
        },
        axes: [
          { side: 3, size, font: FONT, stroke: () => colour("--ink"), splits: () => names.map((_, row) => row), gap: 8, lineGap: 1.15,
            values: () => names.map((name) => fitted(name, room)), grid: { show: false }, ticks: { show: false } },
          axis([`${panel.label}, ${panel.unit}`, panel.label].find((text) => textWidth(text) < width - size - 14) ?? "", { side: 2 }),
        ],
        padding: [6, 14, 0, 0],
        series: [{}, { scale: "y", paths: () => null, points: { show: false } }],
        hooks: { drawClear: [shade], drawAxes: [paint] },
      };
    },
  });
  drawKey();
  if (spec.panels.length > 1) {
    const chosen = place.querySelector("select") ?? place.insertBefore(selector("by", spec.panels.map((one) => one.label)), place.firstChild).querySelector("select");
    chosen.addEventListener("change", () => { panel = spec.panels[chosen.selectedIndex]; drawKey(); drawn.draw(); });
  }
  return drawn;
}

function selector(label, names) {
  const made = make("label", `${label} `, { class: "choice" });
  const choice = made.appendChild(document.createElement("select"));
  choice.append(...names.map((name) => make("option", name)));
  return made;
}

// Names next to their points, the first first; a name that would cover another is left to the hover.
function writeNames(context, box, named) {
  context.textAlign = "left";
  context.textBaseline = "alphabetic";
  const taken = [];
  const unit = devicePixelRatio;
  for (const { x, y, bold, text } of named) {
    context.font = FONT.replace("12px", `${bold ? "bold " : ""}${12 * unit}px`);
    context.fillStyle = colour(bold ? "--ink" : "--quiet");
    const width = context.measureText(text).width;
    const places = [[9, -6], [9, 14], [-9, -6], [-9, 14]].map(([right, down]) => ({
      left: right > 0 ? x + right * unit : x + right * unit - width, base: y + down * unit,
    }));
    const free = places.find(({ left, base }) => left > box.left && left + width < box.left + box.width + 14 * unit
      && !taken.some((other) => left < other.left + other.width && other.left < left + width && Math.abs(base - other.base) < 13 * unit));
    if (!free) continue;
    taken.push({ ...free, width });
    context.fillText(text, free.left, free.base);
  }
}

// Scattered points. `points()` gives x, y, level, shape, lines of text; those without a value lie on the lower edge.
function scatterChart(place, { label, height, points, xLabel, yLabel, xAxis, log, under, lit, choose, names }) {
  let all = [];
  const position = (u, point) => [
    u.valToPos(point.x, "x"), point.y === null ? u.over.clientHeight : u.valToPos(point.y, "y"),
  ];
  const paint = (u) => {
    const { ctx, bbox } = u;
    ctx.save();
    under?.(u);
    const boxes = [];
    const ordered = [...all.filter((point) => point.level !== lit()), ...all.filter((point) => point.level === lit())];
    for (const point of ordered) {
      const bold = point.level === lit();
      const ink = colour(bold ? "--orange" : "--blue");
      const x = u.valToPos(point.x, "x", true);
      const y = point.y === null ? bbox.top + bbox.height : u.valToPos(point.y, "y", true);
      ctx.globalAlpha = bold ? 1 : 0.55;
      drawPoint(ctx, point.shape, x, y, bold ? 6.5 : 4.5, ink, point.shape === "○" ? colour("--paper") : ink);
      ctx.globalAlpha = 1;
      if (names) boxes.push({ x, y, bold, text: fitted(point.name, 130).split("\n")[0] });
    }
    writeNames(ctx, bbox, boxes.reverse());
    ctx.restore();
  };
  return chart(place, {
    label, height,
    choose: (point) => choose(point.level),
    data: () => {
      all = points().sort((a, b) => a.x - b.x);
      return [all.map((point) => point.x), all.map((point) => point.y)];
    },
    items: () => all,
    at: (u) => {
      let best = null;
      let nearest = 28;
      for (const point of all) {
        const [x, y] = position(u, point);
        const far = Math.hypot(x - u.cursor.left, y - u.cursor.top);
        if (far < nearest) [best, nearest] = [point, far];
      }
      return best;
    },
    where: position,
    text: (point) => point.lines,
    options: () => {
      const there = points();
      const xs = there.map((point) => point.x);
      return {
        scales: {
          x: { time: false, distr: log?.() ? 3 : 1, range: log?.() ? () => [Math.min(...xs) / 1.2, Math.max(...xs) * 1.2] : () => limits(xs) },
          y: { range: () => limits(there.map((point) => point.y), 0.08) },
        },
        axes: [axis(xLabel(), { ...xAxis?.() }), axis(yLabel(), { size: 48, space: 36 })],
        padding: [10, 14, 0, 0],
        series: [{}, { paths: () => null, points: { show: false } }],
        hooks: { draw: [paint] },
      };
    },
  });
}

// Lines over x with a band; hovering gives the values at the nearest x.
function lineChart(place, { label, height, lines, xLabel, yLabel, text, yRange, whole }) {
  return chart(place, {
    label, height,
    data: () => [lines().x, ...lines().lines.map((line) => line.y)],
    items: () => lines().x.map((_, index) => index),
    at: (u) => u.cursor.idx,
    where: (u, index) => [u.valToPos(lines().x[index], "x"), u.over.clientHeight / 2],
    text,
    options: () => {
      const now = lines();
      return {
        cursor: { x: true },
        scales: {
          x: { time: false, range: () => limits(now.x, 0.02) },
          y: { range: yRange ?? (() => limits(now.lines.flatMap((line) => line.y))) },
        },
        axes: [
          axis(xLabel, whole ? { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] } : {}),
          axis(yLabel, { size: 48, space: 36 }),
        ],
        padding: [10, 14, 0, 0],
        series: [{}, ...now.lines.map((line) => ({
          stroke: () => (line.colour ? colour(line.colour) : "transparent"), width: line.width ?? 1, dash: line.dash, alpha: line.alpha ?? 1,
          points: { show: line.points ?? false, size: 7 }, spanGaps: true,
        }))],
        bands: (now.bands ?? []).map(({ between, colour: name }) => ({ series: between, fill: `${colour(name)}2a` })),
      };
    },
  });
}
