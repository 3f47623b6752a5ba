const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
function look() {
  const css = getComputedStyle(document.documentElement);
  const ink = css.getPropertyValue("--ink"), line = css.getPropertyValue("--line");
  return { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink }, gridcolor: line };
}
function draw() {
  const { gridcolor, ...base } = look();
  for (const [name, figure] of Object.entries(figures)) {
    const layout = { margin: { t: 20, r: 20 }, legend: { orientation: "h", y: -0.2 }, ...base, ...figure.layout };
    for (const key of Object.keys(layout)) if (/^[xy]axis/.test(key)) layout[key] = { gridcolor, ...layout[key] };
    Plotly.react(document.getElementById(name), figure.data, layout, { responsive: true, displaylogo: false });
  }
}
draw();
dark.addEventListener("change", draw);
const rows = JSON.parse(document.getElementById("rows").textContent);
const size = 50, body = document.querySelector("#trials tbody");
let page = 0;
function turn(by) {
  page = Math.min(Math.max(page + by, 0), Math.max(0, Math.ceil(rows.length / size) - 1));
  body.replaceChildren(...rows.slice(page * size, (page + 1) * size).map(row => {
    const tr = document.createElement("tr");
    for (const cell of row) tr.appendChild(document.createElement("td")).textContent = cell;
    return tr;
  }));
  const last = Math.min(rows.length, (page + 1) * size);
  document.getElementById("page").textContent = `${page * size + 1} to ${last} of ${rows.length}`;
}
document.getElementById("back").onclick = () => turn(-1);
document.getElementById("on").onclick = () => turn(1);
turn(0);
