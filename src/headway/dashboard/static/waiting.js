// Reloads a page that waits for an answer, unless a person writes in it or leaves it. Without scripts its link does the same.
"use strict";
const isWritten = () => [...document.querySelectorAll("textarea")].some((one) => one.value || one === document.activeElement);
if (document.querySelector("[data-waiting]")) {
  const timer = setInterval(() => isWritten() || location.reload(), 2000);
  addEventListener("beforeunload", () => clearInterval(timer));
}
