"use strict";
const list = document.getElementById("items");
const items = Array.from(list.children);
const words = document.getElementById("words");
const failed = document.getElementById("failed");
const order = document.getElementById("order");
const count = document.getElementById("count");
const texts = items.map((item) => item.textContent.toLowerCase());

function filter() {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  items.forEach((item, index) => {
    const fits = wanted.every((word) => texts[index].includes(word)) && (!failed.checked || item.dataset.failed === "1");
    item.hidden = !fits;
    shown += fits ? 1 : 0;
  });
  count.textContent = `${shown} of ${items.length}`;
}

function sort() {
  const margin = (item) => (item.dataset.margin === "" ? Infinity : Number(item.dataset.margin));
  const sign = order.value === "margin-down" ? -1 : 1;
  const sorted = items.slice();
  if (order.value !== "file") {
    sorted.sort((a, b) => {
      const [one, other] = [margin(a), margin(b)];
      return one === other ? 0 : one === Infinity ? 1 : other === Infinity ? -1 : sign * (one - other);
    });
  }
  list.append(...sorted);
}

words.addEventListener("input", filter);
failed.addEventListener("change", filter);
order.addEventListener("change", sort);
filter();
