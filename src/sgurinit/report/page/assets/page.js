"use strict";

/* Tables: the button of a column sorts by it, then reverses, then restores the order. */
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const given = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const turns = { none: "descending", descending: "ascending", ascending: "none" };
  const words = { none: "ascending", ascending: "descending", descending: "none" };
  const value = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.value === undefined) return cell.textContent.trim();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  const order = (a, b) => (typeof a === "number" ? a - b : String(a).localeCompare(String(b)));
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const isText = given.every((row) => typeof value(row, column) === "string");
      const way = (isText ? words : turns)[head.ariaSort || "none"];
      for (const other of heads) if (other.ariaSort) other.ariaSort = "none";
      head.ariaSort = way;
      const rows = [...given];
      if (way !== "none") {
        const sign = way === "ascending" ? 1 : -1;
        rows.sort((one, other) => {
          const [a, b] = [value(one, column), value(other, column)];
          if (a === null || b === null) return (a === null) - (b === null); // unknown values last
          return sign * order(a, b);
        });
      }
      table.classList.toggle("sorted", way !== "none");
      body.append(...rows);
    });
  });
}

/* Figures: drawn shortly before they become visible, in the current colors of the style sheet. */
(async () => {
  const plots = [...document.querySelectorAll(".plot")];
  const showMessage = (text) => plots.forEach((plot) => { plot.textContent = text; });
  const packed = document.getElementById("plotly");
  if (!packed) return;
  try {
    const bytes = Uint8Array.from(atob(packed.textContent), (c) => c.charCodeAt(0));
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const library = document.createElement("script");
    library.textContent = await new Response(plain).text();
    document.head.append(library);
    packed.remove();
  } catch (error) {
    showMessage("This browser is too old to draw the figures. Their numbers are in the CSV files.");
    return;
  }
  const drawn = new Set();
  const draw = (plot, width) => {
    const style = getComputedStyle(document.documentElement);
    const text = plot.nextElementSibling.textContent
      .replace(/var\((--[\w-]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
    const { data, layout } = JSON.parse(text);
    const settings = { displayModeBar: false, displaylogo: false, responsive: width === undefined };
    if (!drawn.has(plot)) plot.replaceChildren();
    plot.classList.remove("undrawn");
    drawn.add(plot);
    return Plotly.react(plot, data, { ...layout, width, autosize: width === undefined }, settings);
  };
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "800px" });
  plots.forEach((plot) => near.observe(plot));
  const again = () => drawn.forEach((plot) => draw(plot));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);

  /* Printing: open all boxes, and draw all figures in light colors and at the width of a page. */
  let closed = [];
  addEventListener("beforeprint", () => {
    document.documentElement.dataset.printing = "";
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((part) => { part.open = true; });
    plots.forEach((plot) => {
      near.unobserve(plot);
      draw(plot, plot.closest(".wide") ? 700 : 340);
    });
  });
  addEventListener("afterprint", () => {
    delete document.documentElement.dataset.printing;
    closed.forEach((part) => { part.open = false; });
    again();
  });
})();
