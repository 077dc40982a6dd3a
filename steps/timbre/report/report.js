"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const key = (row, column) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
  table.querySelectorAll("thead th").forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.ariaSort === "ascending";
      const rows = [...body.rows].sort((one, other) => {
        const [a, b] = [key(one, column), key(other, column)];
        const numbers = [a, b].map(Number);
        const order = numbers.some(Number.isNaN) || a === "" || b === "" ? a.localeCompare(b, "en", { numeric: true }) : numbers[0] - numbers[1];
        return down ? -order : order;
      });
      for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
      head.ariaSort = down ? "descending" : "ascending";
      body.append(...rows);
    });
  });
}
const contents = document.querySelector("nav details");
const narrow = matchMedia("(max-width: 70rem)");
const fold = () => { contents.open = !narrow.matches; };
narrow.addEventListener("change", fold);
fold();
const folded = [];
addEventListener("beforeprint", () => {
  for (const picture of document.images) picture.loading = "eager";
  for (const part of document.querySelectorAll("main details:not([open])")) { part.open = true; folded.push(part); }
});
addEventListener("afterprint", () => { while (folded.length) folded.pop().open = false; });
