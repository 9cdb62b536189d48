// Small behaviours around htmx: dialog, toasts, failures, polling, drill-down, arrow keys.
(() => {
  const on = (names, fn) => names.split(" ").forEach((name) => document.addEventListener(name, fn));
  const byId = (id) => document.getElementById(id);

  function toast({ text, level = "good" }) {
    const box = Object.assign(document.createElement("p"), { className: `toast ${level}`, textContent: text });
    byId("toasts").append(box);
    setTimeout(() => box.remove(), 6000);
  }
  on("toast", (event) => toast(event.detail));

  // A confirm form swapped into the dialog opens it; the server's "done" closes it.
  const dialog = byId("dialog");
  on("htmx:afterSwap htmx:after:swap", (event) => {
    const target = event.detail.target ?? event.detail.ctx?.target;
    if (target?.id === "dialog-body" && !dialog.open) dialog.showModal();
  });
  on("done", () => dialog.close());
  dialog.addEventListener("close", () => byId("dialog-body").replaceChildren());
  on("click", (event) => {
    if (dialog.open && (event.target === dialog || event.target.closest("[data-dismiss]"))) {
      event.preventDefault();
      dialog.close();
    }
  });

  // A failure is said, and what is on the page stays: in the card that asked, or as a toast for an action.
  const status = (event) => event.detail.xhr?.status ?? event.detail.ctx?.response?.status;
  const isGet = (event) => (event.detail.requestConfig?.verb ?? event.detail.ctx?.request?.method ?? "").toLowerCase() === "get";
  const words = (code) => ({
    0: "No connection. Nothing was changed.",
    403: "You may not do that here. Reload the page to see what you may.",
    404: "That is gone. Reload the page.",
  })[code] ?? `The server could not do that (${code}). Nothing was changed.`;

  function failed(event, code) {
    const target = event.detail.target ?? event.detail.ctx?.target;
    if (event.target.matches?.("[data-poll]")) return;  // it asks again by itself
    if (!isGet(event) || !target?.isConnected) return toast({ level: "bad", text: words(code) });
    target.querySelector(":scope > .failure")?.remove();
    const note = Object.assign(document.createElement("p"), { className: "failure", role: "alert" });
    note.textContent = code === 0 ? "No connection, so this may be old." : `This could not be loaded (${code}), so it may be old.`;
    const again = Object.assign(document.createElement("a"), { href: location.href, textContent: "Try again", className: "btn small" });
    note.append(again);
    target.prepend(note);
  }
  on("htmx:responseError htmx:response:error", (event) => failed(event, status(event)));
  on("htmx:sendError htmx:timeout", (event) => failed(event, 0));

  // Polling rests while the tab is hidden.
  on("htmx:beforeRequest htmx:before:request", (event) => {
    if (document.hidden && event.target.matches?.("[data-poll]")) event.preventDefault();
  });

  // A bar, picked in a chart, asks for what its link in the table does: a day's or an hour's charges, or a narrower range.
  on("drill", (event) => {
    const query = new URLSearchParams(location.search);
    const names = event.detail.names.split(" "), values = event.detail.key.split(" ");
    for (const name of ["before", "day", "hour", ...(names[1] ? ["range"] : [])]) query.delete(name);
    names.forEach((name, n) => query.set(name, values[n]));
    const link = Object.assign(document.createElement("a"), { href: `?${query}`, hidden: true });
    const [target, swap] = names[1] ? ["#usage", "outerHTML"] : ["#charges", "outerHTML show:top"];
    for (const [name, value] of [["get", `?${query}`], ["target", target], ["swap", swap], ["push-url", "true"]])
      link.setAttribute(`hx-${name}`, value);
    event.target.append(link);
    window.htmx.process(link);
    link.click();
    link.remove();
  });

  // Arrow keys walk the results of the organization switcher.
  byId("orgs")?.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const stops = [...event.currentTarget.querySelectorAll("input, #org-results a")];
    const next = stops[stops.indexOf(document.activeElement) + step];
    if (next) { event.preventDefault(); next.focus(); }
  });
})();
