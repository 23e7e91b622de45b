"use strict";
// Rows can be filtered where there are too many to see at a glance.
const ROWS_MIN = 10;
const filter = document.getElementById("filter");
const [input, shown] = filter.children;
const rows = [...document.getElementById("entries").rows];
const names = rows.map((row) => row.cells[0].textContent.toLowerCase());

function apply() {
  const wanted = input.value.toLowerCase();
  let count = 0;
  rows.forEach((row, index) => {
    row.hidden = !names[index].includes(wanted);
    count += row.hidden ? 0 : 1;
  });
  shown.textContent = wanted ? `${count} of ${rows.length}` : "";
}

if (rows.length > ROWS_MIN) {
  filter.hidden = false;
  input.addEventListener("input", apply);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target === input) {
      input.value = "";
      apply();
    } else if (event.key === "/" && event.target !== input && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      input.focus();
    }
  });
}
