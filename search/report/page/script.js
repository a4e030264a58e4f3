"use strict";
// Sorting and filtering of tables. The page is complete without it.

// Tables: a click on a header sorts by it, largest number or first name first; missing values stay last.
function sortBy(table, index, ascending) {
  const numeric = table.tHead.rows[0].cells[index].classList.contains("number");
  const keyed = [...table.tBodies[0].rows].map((row, place) => {
    const order = row.cells[index].dataset.order;
    const number = Number(order);
    return { row, place, missing: order === undefined, key: numeric && !Number.isNaN(number) ? number : order };
  });
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  keyed.sort((a, b) => {
    if (a.missing || b.missing) return a.missing - b.missing || a.place - b.place;
    return (ascending ? 1 : -1) * compare(a.key, b.key) || a.place - b.place;
  });
  table.tBodies[0].append(...keyed.map((entry) => entry.row));
}

for (const table of document.querySelectorAll("main table")) {
  if (!table.querySelector("[data-order]")) continue;
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const ascending = now === "none" ? !head.classList.contains("number") : now === "descending";
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sortBy(table, index, ascending);
    });
  });
}

for (const field of document.querySelectorAll("input[data-filters]")) {
  const rows = [...document.getElementById(field.dataset.filters).tBodies[0].rows];
  const count = document.querySelector(`[data-counts="${field.dataset.filters}"]`);
  field.closest(".filter").hidden = false;
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const cells = [...row.cells].map((cell) => cell.textContent.trim().toLowerCase());
      row.hidden = !words.every((word) => cells.some((cell) => cell.includes(word)));
    }
    count.value = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
  });
}

// Paper cannot be unfolded.
matchMedia("print").addEventListener("change", (print) => {
  for (const folded of document.querySelectorAll("details")) folded.open ||= print.matches;
});
