const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
function theme() {
  const css = getComputedStyle(document.documentElement);
  const ink = css.getPropertyValue("--ink"), line = css.getPropertyValue("--line");
  return { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink }, gridcolor: line };
}
const narrow = matchMedia("(max-width: 600px)"), hovers = matchMedia("(hover: hover)"); // without a mouse its buttons would always be in the way
const defaults = {
  wide: { legend: { orientation: "h", y: -0.2 } },
  narrow: { height: 460, legend: { orientation: "h", y: -0.2, font: { size: 10 }, entrywidth: 0.5, entrywidthmode: "fraction" } },
};
function draw() {
  const { gridcolor, ...base } = theme();
  for (const [name, figure] of Object.entries(figures)) {
    const own = { ...defaults[narrow.matches ? "narrow" : "wide"], ...figure.layout, ...(narrow.matches && figure.narrow) };
    const layout = { margin: { t: 20, r: 20 }, ...base, ...own };
    layout.font = { ...base.font, ...own.font };
    for (const key of Object.keys(layout)) if (/^[xy]axis/.test(key)) layout[key] = { gridcolor, exponentformat: "e", minexponent: 5, ...layout[key] };
    const element = document.getElementById(name);
    // A figure follows the size of its element, at the first drawing and at each resize of the window.
    element.style.height = element.style.minHeight = own.height ? `${own.height}px` : "";
    Plotly.react(element, figure.data, layout, { responsive: true, displaylogo: false, displayModeBar: narrow.matches || !hovers.matches ? false : "hover" });
  }
}
draw();
dark.addEventListener("change", draw);
narrow.addEventListener("change", draw);
// Copies what stands in another element; where a page may not write to the clipboard, it is selected, to be copied by hand.
for (const button of document.querySelectorAll("[data-copies]")) button.addEventListener("click", async () => {
  const source = document.getElementById(button.dataset.copies), said = button.nextElementSibling;
  try {
    await navigator.clipboard.writeText(source.textContent);
    said.textContent = "copied";
  } catch {
    getSelection().selectAllChildren(source);
    said.textContent = document.execCommand("copy") ? "copied" : "selected";
  }
});
