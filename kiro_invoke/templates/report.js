"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 640px)");
  const coarse = matchMedia("(pointer: coarse)");
  const config = {
    displaylogo: false,
    displayModeBar: coarse.matches ? false : "hover",
    responsive: true,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
  };
  const drawn = new Map();

  // What both schemes share comes with a figure; what a scheme decides is read from the page's own colours.
  function themed(layout) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = {
      gridcolor: colour("--grid"),
      linecolor: colour("--line"),
      zerolinecolor: colour("--line"),
      tickcolor: colour("--line"),
      automargin: true,
    };
    return {
      margin: { l: 12, r: 16, t: 10, b: 12 },
      legend: {
        orientation: "h",
        x: 0,
        y: 0,
        yref: "container",
        yanchor: "bottom",
        bgcolor: "rgba(0,0,0,0)",
        font: { size: 12 },
        itemwidth: 30,
      },
      uniformtext: { mode: "hide", minsize: 9 },
      dragmode: coarse.matches ? false : "zoom",
      ...layout,
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("--muted") },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--muted"), activecolor: colour("--ink") },
      hoverlabel: {
        bgcolor: colour("--card"),
        bordercolor: colour("--line"),
        align: "left",
        font: { color: colour("--ink"), size: 13 },
      },
      xaxis: { ...axis, nticks: narrow.matches ? 4 : 0, ...layout.xaxis },
      yaxis: { ...axis, ...layout.yaxis },
    };
  }

  function draw(id, figure) {
    const place = document.getElementById(id);
    if (!place || !figure) return null;
    drawn.set(id, figure);
    Plotly.react(place, figure.data, themed(figure.layout), config);
    return place;
  }

  function choose(id, show) {
    const select = document.getElementById(id);
    if (!select) return;
    select.addEventListener("change", () => show(select.value));
    show(select.value);
  }

  choose("service", (number) => {
    const place = draw("times", data.times[number]);
    if (!place || place.dataset.heard) return;
    place.dataset.heard = "yes";
    place.on("plotly_click", (event) => showStages(event.points[0].customdata));
  });
  choose("build", (build) => draw("stages", data.waterfalls[build]));
  choose("measured", (number) => draw("bars", data.bars[number]));
  draw("hits", data.hits);
  draw("growth", data.growth);

  function showStages(build) {
    const told = document.getElementById("clicked");
    const known = String(build) in data.waterfalls;
    told.textContent = known ? "" : "The stages of this build are not in this page: it has those of the last builds that ran any.";
    if (!known) return;
    const select = document.getElementById("build");
    select.value = String(build);
    select.dispatchEvent(new Event("change"));
    select.scrollIntoView({ block: "center", behavior: "smooth" });
  }

  for (const change of [dark, narrow, coarse]) {
    change.addEventListener("change", () => drawn.forEach((figure, id) => draw(id, figure)));
  }

  function sort(heading) {
    const table = heading.closest("table");
    const body = table.tBodies[0];
    const place = heading.cellIndex;
    const first = heading.matches(".number, .when") ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = heading.getAttribute("aria-sort") === first ? other : first;
    for (const each of heading.parentNode.cells) each.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const value = (row) => {
      const cell = row.cells[place];
      return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent.trim();
    };
    const compare = (one, other) =>
      typeof one === "number" && typeof other === "number"
        ? one - other
        : String(one).localeCompare(String(other), undefined, { numeric: true });
    const rows = [...body.rows].sort((one, other) => sign * compare(value(one), value(other)));
    body.append(...rows);
  }
  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => sort(button.closest("th")));
  }
})();
