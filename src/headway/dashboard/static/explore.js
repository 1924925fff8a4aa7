// A changed choice is shown at once. Without this script the button Show does the same.
const form = document.querySelector("form[data-explore]");
const now = document.getElementById("threshold-now");
let latest = 0;

async function show() {
  const mine = ++latest;
  const address = `${form.action}?${new URLSearchParams(new FormData(form))}`;
  const response = await fetch(address);
  if (mine !== latest) return;
  const shown = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("outcome");
  if (!response.ok || !shown) {
    location.assign(address);
    return;
  }
  document.getElementById("outcome").replaceChildren(...shown.childNodes);
  history.replaceState(null, "", address);
}

form?.addEventListener("change", show);
form?.addEventListener("input", (event) => {
  if (event.target.id === "threshold") now.textContent = Number(event.target.value).toPrecision(2);
});
