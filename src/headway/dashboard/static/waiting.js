// Loads a page again that waits for an answer. Without this script its link does the same.
if (document.querySelector("[data-waiting]")) setTimeout(() => location.reload(), 3000);
