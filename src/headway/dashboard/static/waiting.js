// Loads a page again that waits for an answer, unless a person leaves it or writes in it. Without it its link does the same.
"use strict";
const isWritten = () => [...document.querySelectorAll("textarea")].some((one) => one.value || one === document.activeElement);
if (document.querySelector("[data-waiting]")) {
  const timer = setInterval(() => isWritten() || location.reload(), 2000);
  addEventListener("beforeunload", () => clearInterval(timer));
}
