"use strict";
// Heads of tables become buttons that sort by the raw values; without this script the tables stand as they were written.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  if (body.rows.length < 3) continue;
  const sums = table.classList.contains("total") ? [body.rows[body.rows.length - 1]] : [];
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.key;
      const words = head.classList.contains("words");
      const order = (a, b) => (words ? key(a).localeCompare(key(b)) : key(a) - key(b)) * (falling ? -1 : 1);
      const rows = [...body.rows].filter((row) => !sums.includes(row));
      const known = rows.filter((row) => key(row) !== ""), unknown = rows.filter((row) => key(row) === "");
      body.append(...known.sort(order), ...unknown, ...sums);
    });
  });
}
