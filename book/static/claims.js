// The Claims page: buttons that show only the claims with one answer. Without JavaScript all show.
const rows = [...document.querySelectorAll("tr[data-answer]")];
const sections = new Set(rows.map((row) => row.closest("section")));
const detailsOf = (row) => document.getElementById(row.querySelector("a").hash.slice(1));
const buttons = document.createElement("div");
buttons.className = "vg-filter";
buttons.role = "group";
buttons.ariaLabel = "Show claims by answer";
const said = document.createElement("p");
said.ariaLive = "polite";

function show(answer) {
  for (const row of rows) {
    row.hidden = detailsOf(row).hidden = answer !== "all" && row.dataset.answer !== answer;
  }
  for (const section of sections) {
    section.hidden = rows.every((row) => row.hidden || row.closest("section") !== section);
  }
  for (const button of buttons.children) button.ariaPressed = button.value === answer;
  const count = rows.filter((row) => !row.hidden).length;
  said.textContent = `${count} of ${rows.length} claims shown.`;
}

function addButton(answer, words) {
  const count = rows.filter((row) => answer === "all" || row.dataset.answer === answer).length;
  if (count === 0) return;
  const button = document.createElement("button");
  Object.assign(button, { type: "button", value: answer, onclick: () => show(answer) });
  button.append(...words, ` (${count})`);
  buttons.append(button);
}

const legend = document.querySelector(".vg-answers");
addButton("all", ["all"]);
for (const item of legend.children) {
  addButton(item.dataset.answer, item.querySelector("b").cloneNode(true).childNodes);
}
legend.after(buttons, said);
show("all");
// A link to something that is hidden shows all again.
addEventListener("hashchange", () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target?.closest("[hidden]")) return;
  show("all");
  target.scrollIntoView();
});
