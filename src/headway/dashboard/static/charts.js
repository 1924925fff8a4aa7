// Draws charts that answer to a person in place of their pictures. Without this script, or if it fails, these stay.
"use strict";
const narrow = matchMedia("(max-width:760px)");
const figures = [...document.querySelectorAll("figure[data-bundle]")];
const OPTIONS = {
  ast: true, // expressions are interpreted: the content security policy forbids to compile them
  actions: false,
  defaultStyle: false,
  renderer: "svg",
  tooltip: { disableDefaultStyle: true },
};
const STEPS = { "Zoom in": [0.15, 0.85], "Zoom out": [-0.25, 1.25] };

function library(address) {
  return new Promise((loaded, failed) => {
    const script = document.createElement("script");
    script.src = address;
    script.addEventListener("load", loaded);
    script.addEventListener("error", failed);
    document.head.append(script);
  });
}

function button(text, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "second";
  made.textContent = text;
  made.addEventListener("click", act);
  return made;
}

// The axes whose domain can be set: each is the signal, the scale, and the ends of its range in pixels.
function axes(view) {
  const { signals } = view.getState({ signals: (name) => name.startsWith("zoom_"), data: () => false });
  const known = [["zoom_time", "x"], ["zoom_value", "y"]].filter(([signal]) => signal in signals);
  return known.map(([signal, scale]) => [signal, view.scale(scale)]);
}

function zoom(view, [from, to]) {
  for (const [signal, scale] of axes(view)) {
    const [first, last] = scale.range();
    const at = (share) => scale.invert(first + (last - first) * share);
    view.signal(signal, [at(from), at(to)]);
  }
  view.runAsync();
}

function tools(figure, view) {
  const made = document.createElement("p");
  made.className = "choices";
  for (const [name, share] of Object.entries(STEPS)) made.append(button(name, () => zoom(view, share)));
  made.append(button("Show all", () => {
    for (const [signal] of axes(view)) view.signal(signal, null);
    view.runAsync();
  }));
  const help = document.createElement("small");
  help.textContent = "Drag to move. Ctrl and the wheel zoom. Press a mark to find its variant in the table.";
  made.append(help);
  return made;
}

// Links the marks of a chart with the rows of the table that its figure names.
function choosing(figure, view) {
  const rows = [...document.querySelectorAll(`#${figure.dataset.rows} tbody tr:not(.note)`)];
  const chosen = figure.querySelector("[role=status]") ?? document.createElement("p");
  chosen.setAttribute("role", "status");
  figure.append(chosen);
  const mark = (number) => view.signal("marked", number).runAsync();
  const clear = () => {
    mark("");
    chosen.replaceChildren();
    for (const row of rows) row.classList.remove("marked");
  };
  const choose = (number) => {
    clear();
    const row = rows[number - 1];
    if (!row) return;
    mark(number);
    row.classList.add("marked");
    const name = row.cells[1].textContent;
    chosen.append(`Variant ${number}: ${name}. `, button("Show it in the table", () => {
      row.closest(".scroll").focus({ preventScroll: true });
      row.scrollIntoView({ block: "center" });
    }), " ", button("Choose none", clear));
  };
  view.addEventListener("click", (_, item) => item?.datum?.number ? choose(item.datum.number) : clear());
  for (const [at, row] of rows.entries()) {
    row.addEventListener("pointerenter", () => mark(String(at + 1)));
    row.addEventListener("pointerleave", () => mark(rows.some((one) => one.classList.contains("marked"))
      ? String(1 + rows.findIndex((one) => one.classList.contains("marked"))) : ""));
  }
}

async function draw(figure) {
  const place = figure.querySelector(narrow.matches ? ".narrow" : ".wide");
  const data = place.querySelector("script[type='application/json']");
  if (!data || place.dataset.drawn) return;
  place.dataset.drawn = "true";
  const drawn = document.createElement("div");
  const { view } = await vegaEmbed(drawn, JSON.parse(data.textContent), OPTIONS);
  drawn.setAttribute("role", "img"); // of its parts, the table has what there is to know
  drawn.setAttribute("aria-label", place.querySelector("svg").getAttribute("aria-label"));
  drawn.querySelector("svg").setAttribute("aria-hidden", "true");
  place.replaceChildren(drawn, data);
  if (axes(view).length) place.append(tools(figure, view));
  if (figure.dataset.rows) choosing(figure, view);
}

async function drawAll() {
  try {
    for (const figure of figures) await draw(figure);
  } catch (error) {
    console.warn("a chart is shown as a picture", error);
  }
}

if (figures.length) {
  library(figures[0].dataset.bundle).then(drawAll, () => undefined);
  narrow.addEventListener("change", () => window.vegaEmbed && drawAll());
}
