// Plots are drawn when they come into view; tables are sorted by their headings' buttons and filtered by words.
"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const plots = [...document.querySelectorAll(".plot")];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 40rem)");
  let printing = false;

  const colours = () => (dark.matches && !printing ? ["#e6edf3", "#38414b"] : ["#1b1f24", "#d0d7de"]);

  // plotly is read when the first plot is drawn: the page can be read, sorted and filtered before.
  function library() {
    if (window.Plotly) return;
    const script = document.createElement("script");
    script.textContent = document.getElementById("library").textContent;
    document.head.append(script);
  }

  function draw(place) {
    library();
    const figure = figures[place.dataset.figure];
    const [ink, rule] = colours();
    const axis = (own) => ({ ...own, color: ink, gridcolor: rule, zerolinecolor: rule, automargin: true });
    const names = new Set(["xaxis", "yaxis", ...Object.keys(figure.layout).filter((key) => /^[xy]axis\d+$/.test(key))]);
    const layout = {
      ...figure.layout,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, family: "system-ui, sans-serif" },
      ...Object.fromEntries([...names].map((name) => [name, axis(figure.layout[name])])),
      legend: narrow.matches ? { orientation: "h", y: -0.2 } : {},
    };
    if (!layout.height) layout.height = narrow.matches ? 600 : place.clientHeight || 400;
    Plotly.react(place, figure.data, layout, { displayModeBar: false, responsive: true });
    place.dataset.drawn = "yes";
  }

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        seen.unobserve(entry.target);
        setTimeout(() => draw(entry.target));
      }
    }
  }, { rootMargin: "200px" });
  plots.forEach((place) => seen.observe(place));
  const again = () => plots.filter((place) => place.dataset.drawn).forEach(draw);
  dark.addEventListener("change", again);
  narrow.addEventListener("change", again);
  addEventListener("beforeprint", () => { printing = true; plots.forEach(draw); });
  addEventListener("afterprint", () => { printing = false; again(); });

  for (const select of document.querySelectorAll("select[data-axis]")) {
    const place = document.getElementById(select.dataset.axis);
    const chosen = () => { place.dataset.figure = select.value; if (place.dataset.drawn) draw(place); };
    select.addEventListener("change", chosen);
    chosen(); // a page that is loaded again may remember another choice
  }

  const value = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = parseFloat(text);
    return { text, number, known: text !== "" && text !== "-" };
  };

  function sort(table, column, numeric, down) {
    const body = table.tBodies[0];
    const sign = down ? -1 : 1;
    const rows = [...body.rows].sort((one, other) => {
      const a = value(one, column);
      const b = value(other, column);
      if (a.known !== b.known) return a.known ? -1 : 1; // what has no figure comes last, either way
      return sign * (numeric ? (a.number || 0) - (b.number || 0) : a.text.localeCompare(b.text));
    });
    body.append(...rows);
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        sort(table, column, head.classList.contains("number"), down);
      });
    });
  }

  for (const grid of document.querySelectorAll(".grid")) {
    const input = grid.querySelector("input");
    const rows = [...grid.querySelectorAll("tbody tr")];
    const filter = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = [...row.cells].map((found) => found.textContent.trim().toLowerCase()).join(" ");
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      grid.querySelector(".count").textContent = words.length ? `${shown} of ${rows.length} rows` : "";
    };
    input.addEventListener("input", filter);
    filter();
  }
})();
