// Replaces the parts of a page that change while it is open. Without it the page is right as of when it was loaded.
"use strict";
const parts = new Map();
for (const element of document.querySelectorAll("[data-live]")) parts.set(element.dataset.live, element);
if (parts.size && window.EventSource) {
  const events = new EventSource("/events");
  events.addEventListener("now", (event) => {
    for (const [name, { text, style }] of Object.entries(JSON.parse(event.data))) {
      const element = parts.get(name);
      if (!element) continue;
      if (element.textContent !== text) element.textContent = text;
      if (element.classList.contains("state")) element.className = `state ${style}`;
    }
  });
  events.addEventListener("end", () => events.close());
}
