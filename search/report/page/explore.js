// The page's charts, linked: a level that is chosen anywhere is lit everywhere. All values come from the page.

const charted = JSON.parse(document.getElementById("chart-data").textContent);
const { levels } = charted;
let chosenLevel = charted.chosen ?? 0;
const lit = () => chosenLevel;
const followers = [];  // what changes with the chosen level
const MOST_IMAGES = 12;
const holder = (name) => document.getElementById(`chart-${name}`);

function choose(level) {
  if (level === null || level === undefined) return;
  chosenLevel = level;
  for (const follow of followers) follow();
}

// The bar that stays in sight, and the tables whose rows are levels.
function linkTables() {
  const choice = document.getElementById("lit");
  choice.append(...levels.map((name) => make("option", name)));
  choice.addEventListener("change", () => choose(choice.selectedIndex));
  followers.push(() => { choice.selectedIndex = lit(); });
  for (const table of document.querySelectorAll("table[data-level-column]")) {
    const column = Number(table.dataset.levelColumn);
    const rows = [...table.tBodies[0].rows].map((row) => ({ row, level: levels.indexOf(row.cells[column].textContent) }));
    for (const { row, level } of rows) {
      if (level < 0) continue;
      row.classList.add("can-light");
      row.addEventListener("click", () => choose(level));
    }
    followers.push(() => { for (const { row, level } of rows) row.classList.toggle("lit", level === lit()); });
  }
}

function drawRows(name, label) {
  const place = holder(name);
  if (!place || !charted[name]) return;
  const drawn = rowsChart(place, charted[name], { label, lit, choose });
  followers.push(drawn.light);
}

// Scores against costs, and the price that moves the recommendation along the front.
function drawCosts() {
  const place = holder("costs");
  const costs = charted.costs;
  if (!place || !costs) return;
  const [score, cost] = [["score", costs.scores], ["cost", costs.costs]].map(([label, columns]) => {
    const choice = place.appendChild(selector(label, Object.keys(columns)));
    return choice.querySelector("select");
  });
  const weighed = costs.weighed;
  const price = document.getElementById("price");
  const noise = document.getElementById("noise");
  const isWeighed = () => Boolean(weighed) && score.selectedIndex === 0 && cost.selectedIndex === 0;
  const candidates = () => (noise.checked ? weighed.estimated : weighed.shown);
  const doublings = (level) => Math.log2(weighed.macs[level] / Math.min(...Object.values(weighed.macs)));
  const best = () => candidates().reduce((one, other) => {
    const worth = (level) => weighed.points[level] - Number(price.value) * doublings(level);
    return worth(other) > worth(one) ? other : one;
  });
  const under = (u) => {
    if (!isWeighed()) return;
    const { ctx, bbox } = u;
    const at = (level) => [u.valToPos(weighed.macs[level], "x", true), u.valToPos(weighed.points[level] / 100, "y", true)];
    const front = candidates().map(at);
    front.forEach(([x, y], nth) => {
      const end = front[nth + 1]?.[0] ?? bbox.left + bbox.width;
      drawLine(ctx, x, y, end, y, colour("--quiet"), 1.5, [6, 4]);
      if (front[nth + 1]) drawLine(ctx, end, y, end, front[nth + 1][1], colour("--quiet"), 1.5, [6, 4]);
    });
    drawPoint(ctx, "○", ...at(best()), 11, colour("--green"), "transparent");
  };
  const drawn = scatterChart(place, {
    label: "Score of every level against its cost; the arrow keys go through the levels, Enter lights one",
    height: (width) => Math.round(Math.min(420, Math.max(300, 0.6 * width))), lit, choose, names: true, under,
    xLabel: () => cost.value, yLabel: () => score.value,
    points: () => costs.level.map((level, nth) => ({
      x: costs.costs[cost.value][nth], y: costs.scores[score.value][nth], level, shape: "●", name: levels[level],
      lines: [levels[level], `${score.value} ${costs.scores[score.value][nth]?.toFixed(3) ?? "–"}`,
        ...Object.entries(costs.costs).map(([name, values]) => `${name}: ${values[nth]?.toFixed(2) ?? "–"}`)],
    })).filter((point) => point.x !== null && point.y !== null),
  });
  followers.push(drawn.light);
  for (const choice of [score, cost]) choice.addEventListener("change", drawn.draw);
  if (!weighed) return;
  const cheapest = weighed.estimated.reduce((one, other) => (weighed.macs[other] < weighed.macs[one] ? other : one));
  const most = Math.max(...Object.keys(weighed.points).map((level) =>
    (doublings(level) > 0.01 ? (weighed.points[level] - weighed.points[cheapest]) / doublings(level) : 0)));
  price.max = Math.max(1, Math.ceil(2.4 * most) / 2);
  price.step = price.max / 100;
  const say = () => {
    const level = best();
    const lines = [];
    const name = `${charted.factor} ${levels[level]}`;
    const gain = weighed.points[level] - weighed.points[cheapest];
    if (level === cheapest) lines.push("The cheapest of all.");
    else {
      const ratio = (weighed.macs[level] / weighed.macs[cheapest]).toFixed(2);
      lines.push(`Over ${levels[cheapest]}, the cheapest: ${gain > 0 ? "+" : ""}${minus(gain.toFixed(1))} points for ${ratio} times the multiply-adds.`);
      if (!noise.checked) lines.push("The study rules out what is cheaper.");
      const [, interval, outcome] = weighed.gains[level] ?? [];
      if (cheapest === weighed.reference && interval) {
        lines.push(outcome === "better" ? `This gain is above the noise: its 95 % interval, ${interval}, excludes 0.`
          : `This gain is below the noise: its 95 % interval, ${interval}, contains 0 (${outcome}).`);
      } else if (cheapest !== weighed.reference) {
        lines.push(`The study judges differences to ${levels[weighed.reference] ?? "its reference"}, so this one has no interval.`);
      }
    }
    if (!noise.checked && weighed.shown.length === 1) {
      lines.push("No gain over it is above the noise, so no price changes this. Count the gains below the noise to see what the estimates alone would say.");
    }
    document.getElementById("price-value").value = `${Number(price.value).toFixed(2)} points`;
    document.getElementById("weighed-level").textContent = name;
    document.getElementById("weighed-level").dataset.level = levels[level];
    document.getElementById("weighed-why").textContent = lines.join(" ");
  };
  const move = () => { say(); drawn.light(); };
  price.addEventListener("input", move);
  noise.addEventListener("change", move);
  price.addEventListener("change", () => choose(best()));
  document.getElementById("weigh").hidden = false;
  say();
}

// What the chosen level confuses: counts in shades; a cell, once clicked, picks its images in the list below.
function drawConfusion() {
  const place = holder("confusion");
  const { classes } = charted;
  let cell = null;
  const readout = make("p", "", { class: "readout", role: "status" });
  const follow = () => {
    const detail = charted.details[lit()];
    document.getElementById("detail-name").textContent = `${charted.factor} ${levels[lit()]}`;
    document.getElementById("detail").classList.toggle("nothing", !detail);
    if (!detail) return;
    const { confusion } = detail;
    const totals = confusion.map((row) => row.reduce((a, b) => a + b, 0));
    const table = make("table", "", { class: classes.length > 12 ? "matrix many" : "matrix" });
    const head = table.createTHead().insertRow();
    head.append(make("td"), ...classes.map((name) => { const th = make("th", "", { scope: "col" }); th.append(make("span", name)); return th; }));
    const body = table.createTBody();
    confusion.forEach((counts, row) => {
      const line = body.insertRow();
      line.append(make("th", classes[row], { scope: "row", title: classes[row] }));
      counts.forEach((count, column) => {
        const share = totals[row] ? count / totals[row] : 0;
        const td = line.appendChild(make("td", "", { class: row === column ? "right" : "wrong" }));
        td.append(make("span", count && classes.length <= 12 ? count.toLocaleString("en") : ""));
        td.style.setProperty("--share", count ? Math.max(0.08, Math.sqrt(share)).toFixed(3) : 0);
        td.classList.toggle("full", share > 0.3);
        const say = () => {
          readout.textContent = `${classes[row]} → ${classes[column]}: ${count.toLocaleString("en")} of ${totals[row].toLocaleString("en")} (${(100 * share).toFixed(1)} %)`;
        };
        td.addEventListener("mouseenter", say);
        td.addEventListener("click", () => { say(); cell = row === column ? null : [row, column]; mistakes(); });
      });
    });
    readout.textContent = `Rows are true classes, columns predicted ones. ${totals.reduce((a, b) => a + b, 0).toLocaleString("en")} predictions of ${detail.n_runs} run${detail.n_runs === 1 ? "" : "s"}. Hover over a cell to read it; click one to pick its mistakes.`;
    place.replaceChildren(table, readout);
    cell = null;
    mistakes();
  };
  const mistakes = () => {
    const list = holder("mistakes");
    const detail = charted.details[lit()];
    const all = detail.confusion.flatMap((counts, row) => counts.map((count, column) => ({ row, column, count })))
      .filter(({ row, column, count }) => row !== column && count).sort((a, b) => b.count - a.count);
    const shown = detail.mistakes.filter(([image, predicted]) => !cell || (charted.images[image][1] === cell[0] && predicted === cell[1]));
    const total = cell ? detail.confusion[cell[0]][cell[1]] : all.reduce((sum, { count }) => sum + count, 0);
    const title = cell ? `${classes[cell[0]]} taken for ${classes[cell[1]]}: ${total} predictions` : `${total.toLocaleString("en")} wrong predictions`;
    const parts = [make("p", title, { class: "title" })];
    if (cell) {
      const back = make("button", "all mistakes", { type: "button" });
      back.addEventListener("click", () => { cell = null; mistakes(); });
      parts[0].append(" ", back);
    } else if (all.length) {
      const pairs = make("ol", "", { class: "pairs" });
      for (const { row, column, count } of all.slice(0, 8)) {
        const pick = make("button", `${classes[row]} → ${classes[column]}: ${count.toLocaleString("en")}`, { type: "button" });
        pick.addEventListener("click", () => { cell = [row, column]; mistakes(); });
        pairs.appendChild(document.createElement("li")).append(pick);
      }
      parts.push(pairs);
    }
    const images = make("ul", "", { class: "images" });
    for (const [image, predicted, times] of shown.slice(0, MOST_IMAGES)) {
      const [name, label] = charted.images[image];
      const item = images.appendChild(document.createElement("li"));
      const kept = document.querySelector(`img[data-image="${CSS.escape(name)}"]`);
      if (kept) item.append(Object.assign(document.createElement("img"), { src: kept.src, alt: "" }));
      item.append(make("code", name), make("span", `${classes[label]} → ${classes[predicted]}, in ${times} of ${detail.n_runs} run${detail.n_runs === 1 ? "" : "s"}`));
    }
    parts.push(images);
    if (shown.length > MOST_IMAGES) parts.push(make("p", `The ${MOST_IMAGES} images that are mistaken most often are listed.`, { class: "small" }));
    list.replaceChildren(...parts);
  };
  followers.push(follow);
}

// Learning curves and reliability of the chosen level, over those of the others.
function drawDetails() {
  const details = () => charted.details.map((detail, level) => ({ detail, level })).filter(({ detail }) => detail);
  for (const quantity of ["accuracy", "loss"]) {
    const place = holder(`curves-${quantity}`);
    const curves = () => charted.details[lit()]?.curves;
    if (!details().some(({ detail }) => detail.curves)) continue;
    const epochs = [...new Set(details().flatMap(({ detail }) => detail.curves?.epochs ?? []))].sort((a, b) => a - b);
    const along = (own, column, kind) => epochs.map((epoch) => own?.[column][kind][own.epochs.indexOf(epoch)] ?? null);
    const value = (number) => (number === null ? "–" : number.toFixed(3));
    const drawn = lineChart(place, {
      label: `${quantity} over the epochs; the arrow keys go through the epochs`, whole: true,
      height: (width) => Math.round(Math.min(320, Math.max(240, 0.55 * width))), xLabel: "epoch", yLabel: quantity,
      lines: () => {
        const others = details().filter(({ level, detail }) => level !== lit() && detail.curves);
        const own = ["train", "val"].flatMap((part) => [1, 2].map((kind) => ({ y: along(curves(), `${part}_${quantity}`, kind) })));
        return {
          x: epochs,
          lines: [
            ...own,
            ...others.map(({ detail }) => ({ y: along(detail.curves, `val_${quantity}`, 0), colour: "--grey", alpha: 0.45 })),
            { y: along(curves(), `train_${quantity}`, 0), colour: "--blue", width: 2.5 },
            { y: along(curves(), `val_${quantity}`, 0), colour: "--orange", width: 2.5, dash: [7, 4] },
          ],
          bands: [{ between: [2, 1], colour: "--blue" }, { between: [4, 3], colour: "--orange" }],
        };
      },
      text: (index) => [`epoch ${epochs[index]}`, ...[["training", "train"], ["validation", "val"]].map(([name, part]) => {
        const [mean, low, high] = [0, 1, 2].map((kind) => value(along(curves(), `${part}_${quantity}`, kind)[index]));
        return `${name} ${quantity}: ${mean} (${low} to ${high})`;
      })],
    });
    followers.push(drawn.draw);
  }
  const place = holder("reliability");
  const bins = () => charted.details[lit()]?.reliability ?? [[], [], []];
  const drawn = lineChart(place, {
    label: "Share correct at each confidence; the arrow keys go through the bins",
    height: (width) => Math.round(Math.min(320, Math.max(240, 0.55 * width))), xLabel: "confidence", yLabel: "share correct",
    yRange: [0, 1.03],
    lines: () => ({ x: bins()[0], lines: [{ y: bins()[0], colour: "--grey", dash: [6, 4] }, { y: bins()[1], colour: "--blue", width: 2, points: true }] }),
    text: (index) => [`confidence ${bins()[0][index].toFixed(3)}`, `share correct: ${bins()[1][index].toFixed(3)}`, `${bins()[2][index].toLocaleString("en")} predictions`],
  });
  followers.push(drawn.draw);
}

// The trials: by number or by a parameter; those of a state that is not ticked are left out, of the table too.
function drawTrials() {
  const place = holder("trials");
  const trials = charted.trials;
  if (!place || !trials) return;
  const bar = place.appendChild(make("p", "", { class: "choices" }));
  const choices = [{ name: "trial", log: false, values: trials.number }, ...trials.parameters];
  const across = bar.appendChild(selector("across", choices.map((choice) => choice.name))).querySelector("select");
  const states = [...new Set(trials.state)];
  const shapes = { COMPLETE: "●", PRUNED: "○", FAIL: "×" };
  const boxes = states.map((state) => {
    const label = bar.appendChild(make("label", ""));
    const box = label.appendChild(make("input", "", { type: "checkbox", value: state }));
    box.checked = true;
    label.append(` ${shapes[state] ?? "●"} ${state} (${trials.state.filter((one) => one === state).length})`);
    return box;
  });
  const count = bar.appendChild(make("output", "", { id: "trials-shown" }));
  const now = () => choices[across.selectedIndex];
  const isText = () => now().values.some((value) => typeof value === "string");
  const names = () => [...new Set(now().values.filter((value) => value !== null))].sort();
  const isShown = (nth) => boxes.some((box) => box.checked && box.value === trials.state[nth]);
  const score = (value) => (value === null ? "no value" : `${charted.metric} ${value.toFixed(3)}`);
  const drawn = scatterChart(place, {
    label: "Value of every trial; the arrow keys go through the trials, Enter lights its level", lit, choose,
    height: (width) => Math.round(Math.min(440, Math.max(300, 0.45 * width))),
    xLabel: () => now().name, yLabel: () => charted.metric,
    log: () => now().log && !isText(),
    xAxis: () => (isText() ? {
      splits: () => names().map((_, nth) => nth), values: (u, splits) => splits.map((nth) => fitted(names()[nth] ?? "", 80)), grid: { show: false }, size: 44,
    } : now().log ? { values: (u, splits) => splits.map((value) => (value === null ? null : String(Number(value.toPrecision(2))))) } : {}),
    points: () => trials.number.map((number, nth) => {
      const x = now().values[nth];
      const spread = isText() ? 0.3 * (((nth * 0.618) % 1) - 0.5) : 0;
      return {
        number, x: x === null ? null : isText() ? names().indexOf(x) + spread : x, y: trials.value[nth], level: trials.level[nth],
        shape: shapes[trials.state[nth]] ?? "●", nth,
        lines: [
          `trial ${number}: ${charted.factor} ${levels[trials.level[nth]] ?? "–"}`, `${trials.state[nth]}, ${score(trials.value[nth])}`,
          Object.entries(trials.about).filter(([, values]) => values[nth] !== null).map(([name, values]) => `${name} ${values[nth]}`).join(", "),
          trials.parameters.filter(({ values }) => values[nth] !== null).map(({ name, values }) => `${name} ${values[nth]}`).join(", "),
        ].filter(Boolean),
      };
    }).filter((point) => point.x !== null && isShown(point.nth)),
  });
  followers.push(drawn.light);
  const rows = new Map([...document.querySelectorAll("#trials tbody tr")].map((row) => [Number(row.cells[0].dataset.order), row]));
  const filter = () => {
    trials.number.forEach((number, nth) => rows.get(number)?.classList.toggle("left-out", !isShown(nth)));
    const n = trials.number.filter((_, nth) => isShown(nth)).length;
    count.value = n < trials.number.length ? `${n} of ${trials.number.length}` : "";
    drawn.draw();
  };
  for (const box of boxes) box.addEventListener("change", filter);
  across.addEventListener("change", drawn.draw);
}

document.documentElement.classList.add("live-charts");

function start() {
  linkTables();
  if (charted.details) drawConfusion();
  for (const follow of followers) follow();
  drawRows("effects", "Effects and differences; the arrow keys go through them, Enter lights a level");
  drawRows("scores", "Scores of the levels; the arrow keys go through them, Enter lights one");
  drawCosts();
  if (charted.details) drawDetails();
  drawRows("interactions", "Interactions of effects");
  drawRows("transfer", "Scores on the second data set; the arrow keys go through the networks");
  drawTrials();
  drawRows("importance", "Importance of the parameters");
  document.documentElement.dataset.charts = "drawn";
}

// The answer at the top is painted first.
requestAnimationFrame(() => setTimeout(start));
