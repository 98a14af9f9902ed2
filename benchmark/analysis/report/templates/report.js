"use strict";

const FIELDS = ["id", "row", "setup", "teacher", "environment", "seed", "status", "reason", "score",
  "names", "metrics", "ledger", "data", "created", "quality", "ious", "curves"];
const PAGE = 200;
const $ = (id) => document.getElementById(id);

// Records come from anybody: their words become text nodes, never markup.
function element(tag, content = [], attributes = {}) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...[content].flat());
  return made;
}

// Sorting: by the first number of a cell, or by its words; what has no number comes last.

function number(text) {
  const found = text.replace(/[,\s]/g, "").replace(/−/g, "-").match(/-?\d+(\.\d+)?(e[+-]?\d+)?/i);
  return found ? Number(found[0]) : NaN;
}

function compare(a, b, words, sign) {
  if (words) return sign * a.localeCompare(b, "en", { numeric: true });
  const [x, y] = [number(a), number(b)];
  if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
  return sign * (x - y);
}

function sortButtons(head, sort) {
  [...head.cells].forEach((cell, column) => {
    const button = element("button", cell.textContent.trim(), { type: "button" });
    button.addEventListener("click", () => {
      const ascending = cell.getAttribute("aria-sort") !== "ascending";
      for (const other of head.cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sort(column, cell.classList.contains("words"), ascending ? 1 : -1);
    });
    cell.replaceChildren(button);
  });
}

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  sortButtons(table.tHead.rows[0], (column, words, sign) => {
    const text = (row) => row.cells[column].textContent.trim();
    body.append(...[...body.rows].sort((a, b) => compare(text(a), text(b), words, sign)));
  });
}

// Runs.

const labels = JSON.parse($("labels").textContent);
const data = JSON.parse($("data").textContent);
const shared = (place) => data.shared[place];
const runs = data.runs.map((values) => Object.fromEntries(FIELDS.map((name, i) => [name, values[i]])));
const percent = (score) => (score === null ? "–" : (100 * score).toFixed(2));

function settings(changed) {
  return Object.entries(changed).map(([name, value]) => `${name}=${value}`).join(", ");
}

const COLUMNS = [
  ["run", true, (run) => run.id],
  ["task", true, (run) => shared(run.setup).spec.task],
  ["method", true, (run) => shared(run.setup).method.title],
  ["settings", true, (run) => settings(shared(run.setup).method.changed)],
  ["budget", true, (run) => shared(run.setup).spec.budget.name],
  ["seed", false, (run) => String(run.seed)],
  ["status", true, (run) => run.status + (run.reason ? `: ${run.reason}` : "")],
  ["score, %", false, (run) => percent(run.score)],
  ["work, GFLOP", false, (run) => work(run)],
];

function work(run) {
  const own = ["synthesis", "distillation", "joint"];
  const sum = own.reduce((total, phase) => total + (run.ledger.work[phase] || 0), 0);
  return sum ? (sum / 1e9).toFixed(1) : "–";
}

const list = { order: runs, shown: PAGE, row: null };
const [runsHead, runsBody] = [document.querySelector("#runs thead tr"), document.querySelector("#runs tbody")];
for (const run of runs) {
  run.cells = COLUMNS.map(([, , cell]) => cell(run));
  run.text = run.cells.join(" ").toLowerCase();
}
for (const [name, words] of COLUMNS) {
  runsHead.append(element("th", name, { scope: "col", ...(words ? { class: "words" } : {}) }));
}
sortButtons(runsHead, (column, words, sign) => {
  list.order = [...list.order].sort((a, b) => compare(a.cells[column], b.cells[column], words, sign));
  drawRuns();
});

function drawRuns() {
  const wanted = list.order.filter((run) => (list.row === null || run.row === list.row)
    && accepts(run.text, shared(run.setup).method.access));
  runsBody.replaceChildren(...wanted.slice(0, list.shown).map((run) => {
    const cells = run.cells.map((text, i) => element("td", text, COLUMNS[i][1] ? { class: "words" } : {}));
    cells[0].replaceChildren(element("a", run.id, { href: `#run-${run.id}` }));
    return element("tr", cells);
  }));
  $("more").hidden = wanted.length <= list.shown;
  $("chosen").textContent = (list.row === null ? "" : `Of ${labels[list.row]}: `)
    + `${wanted.length.toLocaleString("en")} of ${runs.length.toLocaleString("en")} runs. Choose one for its `
    + "specification, curves, costs and the command that runs it again.";
  if (list.row !== null) $("chosen").append(" ", element("a", "Show all", { href: "#runs" }));
}

$("more").addEventListener("click", () => { list.shown += 5 * PAGE; drawRuns(); });

// Filtering: every word must be in the row; it acts on all tables at once.

function accepts(text, access) {
  const words = $("words").value.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = $("access").value;
  return (!chosen || access === chosen) && words.every((word) => text.includes(word));
}

function filter() {
  let [shown, all] = [0, 0];
  for (const section of document.querySelectorAll("main > section")) {
    const title = (section.querySelector("h2").textContent + " ").toLowerCase();
    for (const row of section.querySelectorAll("table.sortable tbody tr")) {
      const access = row.dataset.access;
      row.hidden = access !== "" && !accepts(title + access + " " + row.textContent.toLowerCase(), access);
      [shown, all] = [shown + !row.hidden, all + 1];
    }
  }
  $("count").value = shown === all ? "" : `${shown} of ${all} rows`;
  list.shown = PAGE;
  drawRuns();
}

$("filters").addEventListener("input", filter);
$("filters").addEventListener("submit", (event) => event.preventDefault());

// One run.

function facts(pairs) {
  const rows = pairs.filter(([, value]) => value !== "" && value !== undefined && value !== null);
  const cells = rows.map(([name, value]) => element("tr", [
    element("th", name, { scope: "row" }), element("td", String(value))]));
  return element("div", element("table", element("tbody", cells)), { class: "wide" });
}

function assignments(values) {
  return Object.entries(values).map(([name, value]) =>
    `${name}=${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
}

function curve(name, [place, values]) {
  const steps = shared(place);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const width = steps[steps.length - 1] - steps[0] || 1;
  const points = values.map((value, i) =>
    `${(200 * (steps[i] - steps[0]) / width).toFixed(1)} ${(60 - 60 * (value - low) / (high - low || 1)).toFixed(1)}`);
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 -2 200 64");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", name);
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", `M${points.join("L")}`);
  svg.append(path);
  const range = `${name}: ${low} to ${high}, last ${values[values.length - 1]}, steps ${steps[0]}–${steps[steps.length - 1]}`;
  return element("figure", [svg, element("figcaption", range)]);
}

function openRun(run) {
  const { spec, method, command } = shared(run.setup);
  const { params, budget, objective, ...rest } = spec;
  const title = element("h2", `${method.title} on ${spec.task}, seed ${run.seed}`, { id: "run-title" });
  const close = element("form", element("button", "Close", { autofocus: "" }), { method: "dialog" });
  const dfkd = [`dfkd replay ${run.id} --results ${data.results}`];
  if (command) dfkd.push(`${command} --seeds ${run.seed} --results runs/again`);
  const [classes, ious, held, drawn] = run.ious ? [shared(run.ious[0]), ...run.ious.slice(1)] : [[], []];
  const shares = (i) => `share of the pixels ${held[i]}` + (drawn ? `, of the samples' ${drawn[i]}` : "");
  const names = shared(run.names);
  $("run").replaceChildren(
    close, title,
    facts([["run", run.id], ["status", run.status], ["reason", run.reason], ["score, %", percent(run.score)],
      ["note", method.note], ["created", run.created]]),
    element("h3", "Run it again"),
    element("p", "Executed and compared; made anew into another folder:".split("; ").slice(0, dfkd.length).join("; "),
      { class: "faint" }),
    ...dfkd.map((line) => element("pre", element("code", line))),
    element("h3", "Specification"),
    facts([...Object.entries(rest), ["seed", run.seed], ["access", method.access], ["paper", method.paper],
      ["parameters", assignments(params)], ["differ from the paper's", settings(method.changed)],
      ["objective", objective ? `${objective.name}: ${assignments(objective.params)}` : ""],
      ["proxy images", method.proxy], ["budget", assignments(budget)], ["data", run.data],
      ["teacher", assignments(shared(run.teacher))], ["environment", assignments(shared(run.environment))]]),
    element("h3", "Results"),
    facts([...names.map((name, i) => [name, run.metrics[i]]),
      ...Object.entries(run.quality).map(([name, values]) => [`images, by ${name}`, assignments(values)]),
      ...classes.map((name, i) => [`IoU of ${name}`, ious[i] === null ? "absent" : `${ious[i]} (${shares(i)})`])]),
    element("h3", "Ledger"),
    facts(Object.entries(run.ledger).map(([name, value]) =>
      [name.replace(/_/g, " "), typeof value === "object" ? assignments(value) : value.toLocaleString("en")])),
    element("h3", "Curves"),
    element("p", `At most ${data.points} points of each.`, { class: "faint" }),
    element("div", Object.entries(run.curves).filter(([, [, values]]) => values.length > 1)
      .map(([name, points]) => curve(name, points)), { class: "curves" }),
  );
  $("run").showModal();
}

$("run").addEventListener("close", () => {
  const back = list.row === null ? "#runs" : `#row-${list.row}`;
  if (location.hash.startsWith("#run-")) history.replaceState(null, "", back);
});

function follow() {
  const [, kind, name] = location.hash.match(/^#(run|row)-(.+)$/) || [];
  if ($("run").open) $("run").close();
  if (kind === "run") {
    const run = runs.find((candidate) => candidate.id === name);
    if (run) openRun(run);
  } else if (kind === "row" || location.hash === "#runs") {
    list.row = kind === "row" ? Number(name) : null;
    drawRuns();
    $("runs").scrollIntoView();
  }
}

window.addEventListener("hashchange", follow);
filter();
follow();
