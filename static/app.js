// Small behaviours around htmx: dialog, toasts, failures, polling, drill-down, the palette.
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
    if (!byId("charges")) return;
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

  // The palette: organizations and pages by a few letters, from anywhere. The server brings the list when it is opened;
  // what matches is found here, so that no letter waits for an answer.
  const palette = byId("palette");
  if (palette) {
    const most = 12;  // shown of a group
    const input = palette.querySelector("input"), told = palette.querySelector("[role=status]");
    let groups = [], hurried = false;  // hurried: Enter came before the list did
    const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase().replace(/[\s-]+/g, " ");
    const shown = () => groups.flatMap(({ options }) => options.filter((option) => !option.hidden));
    const chosen = () => palette.querySelector("[aria-selected=true]");

    // 0 begins with it, 1 a word does, 2 the first letters of its words do, 3 holds it, 4 holds its letters in order.
    function rank(name, sought) {
      if (name.startsWith(sought)) return 0;
      if (name.includes(` ${sought}`)) return 1;
      if (name.split(" ").map((word) => word[0]).join("").startsWith(sought)) return 2;
      if (name.includes(sought)) return 3;
      let at = -1;
      return [...sought].every((letter) => (at = name.indexOf(letter, at + 1)) >= 0) ? 4 : 5;
    }

    function choose(option) {
      chosen()?.setAttribute("aria-selected", "false");
      option?.setAttribute("aria-selected", "true");
      option?.scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", option?.id ?? "");
    }

    function narrow() {
      const sought = plain(input.value).trim();
      for (const group of groups) {
        const ranks = new Map(group.all.map((option) => [option, Math.min(...option.names.map((name) => rank(name, sought)))]));
        group.options = group.all.filter((option) => ranks.get(option) < 5).sort((a, b) => ranks.get(a) - ranks.get(b));
        group.best = ranks.get(group.options[0]) ?? 5;
        group.all.forEach((option) => { option.hidden = true; });
        group.options.slice(0, most).forEach((option) => { option.hidden = false; });
        group.box.hidden = !group.options.length;
        group.box.append(...group.options);
      }
      groups.sort((a, b) => a.best - b.best || a.place - b.place);
      byId("palette-list").append(...groups.map(({ box }) => box));
      choose(shown()[0]);
      const found = groups.reduce((sum, { options }) => sum + options.length, 0);
      if (groups.length) told.textContent = found ? `${found} found` : "Nothing is called like that.";
      palette.classList.toggle("is-empty", groups.length > 0 && !found);
    }

    on("htmx:afterSwap htmx:after:swap", (event) => {
      if ((event.detail.target ?? event.detail.ctx?.target)?.id !== "palette-list") return;
      groups = [...palette.querySelectorAll("[role=group]")].map((box, place) => {
        const all = [...box.querySelectorAll("[role=option]")];
        for (const option of all) option.names = option.dataset.names.split("|").map(plain);
        return { box, place, all, options: all };
      });
      narrow();
      if (hurried) chosen()?.click();
    });

    function toggle() {
      if (palette.open) return palette.close();
      hurried = false;
      input.value = "";
      palette.showModal();
      narrow();
      window.htmx.trigger("#palette-list", "needed");
    }
    on("keydown", (event) => {
      if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
      event.preventDefault();
      toggle();
    });
    on("click", (event) => {
      if (event.target.closest("[data-palette]")) { event.preventDefault(); toggle(); }
      else if (event.target === palette || event.target.closest("#palette [role=option]")) palette.close();
    });
    input.addEventListener("input", () => { hurried = false; narrow(); });
    input.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (event.key === "Enter") {
        event.preventDefault();
        hurried = !groups.length;
        chosen()?.click();
      } else if (step) {
        event.preventDefault();
        const all = shown();
        choose(all[(all.indexOf(chosen()) + step + all.length) % all.length]);
      }
    });
  }
})();
