// Dragging, keys and saving at every change. Everything here is also possible without it, by the places and the button.
"use strict";
const form = document.getElementById("order");
const list = form.querySelector(".answers");
const answers = () => [...list.querySelectorAll("article")];
const place = (answer) => answer.querySelector("select");
const saved = document.getElementById("saved");
document.querySelectorAll(".scripted").forEach((each) => { each.hidden = false; });

// Seconds on the page while it is visible, with those of earlier visits.
const before = form.elements.before;
let seconds = before ? Number(before.value) : 0;
setInterval(() => { if (document.visibilityState === "visible") seconds += 0.5; }, 500);
const counted = document.createElement("input");
counted.type = "hidden";
counted.name = "seconds";
form.append(counted);
form.addEventListener("submit", () => { counted.value = seconds.toFixed(1); });

// One save at a time, always of the newest state.
let busy = false, again = false;
async function keep() {
  if (busy) { again = true; return; }
  busy = true;
  again = false;
  saved.textContent = "Saving";
  counted.value = seconds.toFixed(1);
  const body = new URLSearchParams(new FormData(form));
  body.set("action", "keep");
  try {
    const reply = await fetch(form.getAttribute("action"), { method: "POST", body, keepalive: true });
    saved.textContent = reply.ok ? "Saved" : "Not saved: the server refused it";
  } catch {
    saved.textContent = "Not saved: no connection. It is tried again.";
    setTimeout(keep, 3000);
  }
  busy = false;
  if (again) keep();
}
form.addEventListener("change", keep);
let typing = 0;
form.elements.comment.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(keep, 800); });

list.addEventListener("keydown", (event) => {
  const answer = event.target.closest("article");
  if (!answer || event.target !== answer || event.ctrlKey || event.metaKey || event.altKey) return;
  const all = answers(), here = all.indexOf(answer);
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (step) {
    all[(here + step + all.length) % all.length].focus();
  } else if (Number(event.key) >= 1 && Number(event.key) <= all.length) {
    place(answer).value = event.key;
    keep();
  } else {
    return;
  }
  event.preventDefault();
});

// After a drag the answers have the places in which they stand.
let dragged = null;
for (const answer of answers()) {
  answer.draggable = true;
  answer.addEventListener("dragstart", (event) => {
    dragged = answer;
    answer.classList.add("dragged");
    event.dataTransfer.setData("text/plain", answer.dataset.letter);
    event.dataTransfer.effectAllowed = "move";
  });
  answer.addEventListener("dragend", () => { answer.classList.remove("dragged"); dragged = null; });
  answer.addEventListener("dragover", (event) => { event.preventDefault(); answer.classList.add("over"); });
  answer.addEventListener("dragleave", () => answer.classList.remove("over"));
  answer.addEventListener("drop", (event) => {
    event.preventDefault();
    answer.classList.remove("over");
    if (!dragged || dragged === answer) return;
    const all = answers();
    if (all.indexOf(dragged) < all.indexOf(answer)) answer.after(dragged); else answer.before(dragged);
    answers().forEach((each, index) => { place(each).value = String(index + 1); });
    keep();
  });
}
