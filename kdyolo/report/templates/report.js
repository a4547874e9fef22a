"use strict";
// Sorts tables, reads values off plots and enlarges pictures. The page is complete without it, and all words that
// people see come from the page itself.

const page = document.body;
const [NUMBER, GROUPS] =
  page.dataset.decimal === "," ? [/^[+-]?\d[\d.]*(,\d+)?/, "."] : [/^[+-]?\d[\d,]*(\.\d+)?/, ","];
const [live, tip, dialog] = ["live", "tip", "zoom"].map((id) => document.getElementById(id));

function button(className, content) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = className;
  made.append(...content);
  return made;
}

// ---- tables

/** Head cells that stand for a single column, each with the index of that column. */
function columns(table) {
  const taken = [...table.tHead.rows].map(() => []);
  const found = [];
  [...table.tHead.rows].forEach((row, y) => {
    for (const cell of row.cells) {
      let x = 0;
      while (taken[y][x]) x += 1;
      for (let i = 0; i < cell.rowSpan; i += 1) {
        for (let j = 0; j < cell.colSpan; j += 1) taken[y + i][x + j] = true;
      }
      if (cell.colSpan === 1 && cell.textContent.trim()) found.push([cell, x]);
    }
  });
  return found;
}

/** Rows in the order of a column's numbers or words; what is missing comes last either way. */
function sorted(rows, column, direction) {
  const texts = new Map(rows.map((row) => [row, row.cells[column].textContent.trim()]));
  const isMissing = (text) => text === "" || text === page.dataset.missing;
  const isNumeric = [...texts.values()].every((text) => isMissing(text) || NUMBER.test(text));
  const number = (text) => Number(text.match(NUMBER)[0].replaceAll(GROUPS, "").replace(",", "."));
  return [...rows].sort((first, second) => {
    const [a, b] = [texts.get(first), texts.get(second)];
    if (isMissing(a) || isMissing(b)) return isMissing(a) - isMissing(b);
    return direction * (isNumeric ? number(a) - number(b) : a.localeCompare(b, undefined, { numeric: true }));
  });
}

function makeSortable(table) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = columns(table);
  if (original.length < 2) return;
  const sort = (head, column) => {
    const next = { ascending: "descending", descending: null }[head.getAttribute("aria-sort")];
    const order = next === undefined ? "ascending" : next;
    for (const [other] of heads) other.removeAttribute("aria-sort");
    if (order) head.setAttribute("aria-sort", order);
    body.append(...(order ? sorted(original, column, order === "ascending" ? 1 : -1) : original));
  };
  for (const [head, column] of heads) {
    const made = button("sort", head.childNodes);
    made.addEventListener("click", () => sort(head, column));
    head.append(made);
  }
}

// ---- plots: data-values has lines of [x, y, value, ...] in units of the viewBox; spans: how far bars go

function makeReadable(svg) {
  const lines = JSON.parse(svg.dataset.values);
  const plot = svg.closest("figure");
  const pin = document.createElementNS(svg.namespaceURI, "circle");
  pin.setAttribute("class", "pin");
  pin.setAttribute("r", 4.5);
  let at = [0, 0];

  const hide = () => {
    pin.remove();
    tip.hidden = true;
  };
  const show = (place, aloud) => {
    at = place;
    const [line, point] = at;
    const [x, y, ...values] = lines[line].points[point];
    pin.setAttribute("cx", x);
    pin.setAttribute("cy", y);
    svg.append(pin);
    tip.textContent = lines[line].text.replace(/\{(\d)\}/g, (_, index) => values[index]);
    if (aloud) live.textContent = tip.textContent;
    put(new DOMPoint(x, y).matrixTransform(svg.getScreenCTM()));
  };
  const nearest = (x, y, candidates) => {
    let [best, least] = [at, Infinity];
    for (const line of candidates) {
      const { points, spans } = lines[line];
      points.forEach(([px, py], i) => {
        const [low, high] = spans ? spans[i] : [px, px];
        const distance = Math.hypot(Math.max(low - x, 0, x - high), y - py);
        if (distance < least) [best, least] = [[line, i], distance];
      });
    }
    return best;
  };
  const follow = (event) => {
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    show(nearest(x, y, lines.keys()), false);
  };
  const step = (key) => {
    const [line, point] = at;
    const [x, y] = lines[line].points[point];
    const last = lines[line].points.length - 1;
    const other = { ArrowUp: line - 1, ArrowDown: line + 1 }[key];
    if (other !== undefined) return lines[other] ? nearest(x, y, [other]) : at;
    return [line, { ArrowLeft: Math.max(point - 1, 0), ArrowRight: Math.min(point + 1, last), Home: 0, End: last }[key]];
  };

  plot.tabIndex = 0;
  plot.setAttribute("role", "application");
  plot.setAttribute("aria-label", svg.getAttribute("aria-label"));
  plot.setAttribute("aria-describedby", "keys");
  plot.addEventListener("pointermove", follow);
  plot.addEventListener("pointerdown", follow);
  plot.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
  plot.addEventListener("focus", () => plot.matches(":focus-visible") && show(at, true));
  plot.addEventListener("blur", hide);
  plot.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
    if (!/^(Arrow(Left|Right|Up|Down)|Home|End)$/.test(event.key)) return;
    event.preventDefault();
    show(tip.hidden ? at : step(event.key), true);
  });
}

/** The tip above a point of the window, or below it where there is no room. */
function put(point) {
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.min(Math.max(point.x - width / 2, 8), document.documentElement.clientWidth - width - 8);
  const top = point.y - height - 12 < 0 ? point.y + 14 : point.y - height - 12;
  tip.style.left = `${left + window.scrollX}px`;
  tip.style.top = `${top + window.scrollY}px`;
}

// ---- pictures

let views = [];
let shown = 0;

function turn(step) {
  shown = (shown + step + views.length) % views.length;
  const copy = views[shown].cloneNode(true);
  for (const part of copy.querySelectorAll("[id]")) part.removeAttribute("id");
  dialog.querySelector(".stage").replaceChildren(copy);
  document.getElementById("zoom-title").textContent = copy.getAttribute("aria-label");
}

function makeZoomable(group) {
  const pictures = [...group.querySelectorAll("svg")];
  pictures.forEach((svg, index) => {
    const made = button("zoom", []);
    svg.replaceWith(made);
    made.append(svg);
    made.addEventListener("click", () => {
      [views, shown] = [pictures, index];
      for (const arrow of dialog.querySelectorAll("[data-step='1'], [data-step='-1']")) arrow.hidden = views.length < 2;
      turn(0);
      dialog.showModal();
      dialog.addEventListener("close", () => made.focus(), { once: true });
    });
  });
}

dialog.addEventListener("click", (event) => {
  const step = Number(event.target.dataset.step);
  if (step) turn(step);
  else if (step === 0 || event.target === dialog) dialog.close();
});
dialog.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) turn(step);
});

page.querySelectorAll("table.sortable").forEach(makeSortable);
page.querySelectorAll("svg[data-values]").forEach(makeReadable);
page.querySelectorAll(".zoomable").forEach(makeZoomable);
