const number = document.getElementById("number");
const doubled = document.getElementById("doubled");

async function show() {
  const answer = await fetch(`../double?x=${encodeURIComponent(number.value)}`);
  const body = await answer.json();
  doubled.textContent = answer.ok ? `doubled: ${body.doubled}` : body.error;
}

number.addEventListener("input", show);
show();
