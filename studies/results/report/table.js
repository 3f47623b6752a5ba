// A table that is sorted by its heads and searched. Rows come a few hundred at a time, as one scrolls to them.
const rows = JSON.parse(document.getElementById("rows").textContent);
const step = 200, long = 40;
const box = document.querySelector("#trials").parentElement, body = document.querySelector("#trials tbody");
const heads = [...document.querySelectorAll("#trials th")], search = document.getElementById("search");
const texts = rows.map(row => row.join(" ").toLowerCase());
const numeric = heads.map((_, column) => rows.every(row => row[column] === "-" || row[column] === "" || !isNaN(parseFloat(row[column]))));
let shown = [], drawn = 0, sorted = { column: -1, way: 1 };
function cell(text, column) {
  const element = document.createElement(column ? "td" : "th");
  if (!column) element.scope = "row";
  if (text.length > long) element.className = "long";
  element.textContent = text;
  return element;
}
function more() {
  const next = shown.slice(drawn, drawn + step);
  body.append(...next.map(place => {
    const tr = document.createElement("tr");
    if (rows[place][0] === box.dataset.marked) tr.className = "marked";
    tr.append(...rows[place].map(cell));
    return tr;
  }));
  drawn += next.length;
  document.getElementById("all").hidden = drawn === shown.length;
}
function all() {
  while (drawn < shown.length) more();
}
function compare(a, b) {
  const { column, way } = sorted, [x, y] = [rows[a][column], rows[b][column]];
  const empty = text => text === "-" || text === "";
  if (empty(x) || empty(y)) return empty(x) - empty(y) || a - b;  // what is missing comes last, in both directions
  return way * (numeric[column] ? parseFloat(x) - parseFloat(y) : x.localeCompare(y)) || a - b;
}
function show() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  shown = rows.map((_, place) => place).filter(place => words.every(word => texts[place].includes(word)));
  if (sorted.column >= 0) shown.sort(compare);
  body.replaceChildren();
  drawn = box.scrollTop = 0;
  more();
  document.getElementById("count").textContent = shown.length < rows.length ? `${shown.length} of ${rows.length}` : `${rows.length}`;
}
heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
  const again = sorted.column === column;
  sorted = again && sorted.way < 0 ? { column: -1, way: 1 } : { column, way: again ? -1 : 1 };
  heads.forEach((other, place) => other.setAttribute("aria-sort", place !== sorted.column ? "none" : sorted.way > 0 ? "ascending" : "descending"));
  show();
}));
search.addEventListener("input", show);
document.getElementById("all").addEventListener("click", all);
addEventListener("beforeprint", all);
addEventListener("keydown", event => { if ((event.ctrlKey || event.metaKey) && event.key === "f") all(); });  // the browser searches what is drawn
box.addEventListener("scroll", () => { if (box.scrollTop + box.clientHeight > box.scrollHeight - 600) more(); });
show();
