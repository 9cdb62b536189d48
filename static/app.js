// Small behaviours around htmx: dialog, toasts, failures, polling, drill-down, the palette.
(() => {
  const on = (name, fn) => document.addEventListener(name, fn);
  const byId = (id) => document.getElementById(id);
  const make = (name, facts) => Object.assign(document.createElement(name), facts);

  function toast({ text, level = "good", id = "" }) {
    const box = make("p", { id, className: `toast ${level}`, textContent: text });
    byId("toasts").append(box);
    if (!id) setTimeout(() => box.remove(), 6000);  // what has a name is taken back by it
  }
  on("toast", (event) => toast(event.detail));

  // A confirm form swapped into the dialog opens it; the server's "done" closes it.
  const dialog = byId("dialog");
  on("htmx:afterSwap", ({ detail }) => {
    if (detail.target?.id === "dialog-body" && !dialog.open) dialog.showModal();
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
  const polls = (elt) => elt.matches("[data-poll]");
  const failure = (place) => place.querySelector(":scope > .failure");
  const words = (code) => ({ 403: "You may not do that here", 404: "That is gone" })[code]
    ?? `The server ${code < 500 ? "refused" : "failed"} (${code})`;

  function failed({ requestConfig: { elt, verb }, pathInfo, target }, why, so) {
    const poll = polls(elt), place = poll ? elt.closest("section, main") : target;
    if (verb !== "get" || !place.checkVisibility()) return toast({ level: "bad", text: `${why}${so}.` });
    if (poll && failure(place)) return;
    failure(place)?.remove();
    const note = make("p", { className: "failure", textContent: `${why}, so this may be old.` });
    note.setAttribute("role", "alert");
    place.prepend(note);
    if (poll) return;  // it asks again by itself
    const again = make("a", { href: location.href, textContent: "Try again", className: "btn small" });
    for (const name of ["hx-swap", "hx-push-url"]) if (elt.hasAttribute(name)) again.setAttribute(name, elt.getAttribute(name));
    again.setAttribute("hx-get", pathInfo.finalRequestPath);
    again.setAttribute("hx-target", `#${place.id}`);
    note.append(again);
    window.htmx.process(again);
  }
  const doubt = ": look whether it was done before you do it again";
  on("htmx:responseError", ({ detail }) => failed(detail, words(detail.xhr.status), ", so nothing was changed"));
  on("htmx:sendError", ({ detail }) => failed(detail, navigator.onLine ? "The server cannot be reached" : "You are offline", doubt));
  on("htmx:timeout", ({ detail }) => failed(detail, "The answer took too long", doubt));

  // Offline is said once, and what failed meanwhile is asked for again once one is back.
  addEventListener("offline", () => toast({ id: "offline", level: "bad", text: "You are offline. What you see may be old." }));
  addEventListener("online", () => {
    byId("offline")?.remove();
    document.querySelectorAll(".failure a").forEach((again) => again.click());
  });

  // Polling rests while the tab is hidden, and leaves alone what stands as it did when it asked before.
  const stood = {};
  on("htmx:beforeRequest", (event) => {
    if (document.hidden && polls(event.target)) event.preventDefault();
  });
  on("htmx:beforeSwap", ({ detail }) => {
    const { elt } = detail.requestConfig;
    if (!polls(elt)) return;
    const mark = detail.xhr.getResponseHeader("ETag"), path = detail.pathInfo.finalRequestPath;
    if (mark && mark === stood[path]) detail.shouldSwap = false;
    stood[path] = mark;
    failure(elt.closest("section, main"))?.remove();
  });

  // Focus is never lost: what a swap took away hands it to what has its id, or its name in its place, or to the place;
  // and a button that rested while it was answered has it back.
  let held, swapping;
  on("focusin", ({ target }) => { held = target; });
  on("focusout", ({ target }) => { if (!swapping && !target.disabled) held = undefined; });
  on("htmx:beforeSwap", () => { swapping = true; });
  on("htmx:afterRequest", ({ detail: { target } }) => {
    swapping = false;
    const lost = () => held && document.activeElement === document.body;
    if (!lost()) return;
    const place = byId(target.id) ?? target;
    const same = [...place.querySelectorAll("a, button")].find(({ textContent }) => textContent === held.textContent);
    for (const next of [held, byId(held.id), same, place]) {
      if (!next || !lost()) continue;
      if (next === place) place.tabIndex = -1;
      next.focus({ preventScroll: true });
    }
  });

  // A bar, picked in a chart, asks for what its link in the table does: a day's or an hour's charges, or a narrower range.
  on("drill", (event) => {
    if (!byId("charges")) return;
    const query = new URLSearchParams(location.search);
    const names = event.detail.names.split(" "), values = event.detail.key.split(" ");
    for (const name of ["before", "day", "hour", ...(names[1] ? ["range"] : [])]) query.delete(name);
    names.forEach((name, n) => query.set(name, values[n]));
    byId("drill")?.remove();
    const link = make("a", { id: "drill", href: `?${query}`, hidden: true });
    const [target, swap] = names[1] ? ["#usage", "outerHTML"] : ["#charges", "outerHTML show:top"];
    for (const [name, value] of [["get", `?${query}`], ["target", target], ["swap", swap], ["push-url", "true"]])
      link.setAttribute(`hx-${name}`, value);
    event.target.append(link);
    window.htmx.process(link);
    link.click();
  });

  // The palette: organizations and pages by a few letters, from anywhere. The server brings the list when it is opened;
  // what matches is found here, so that no letter waits for an answer.
  const palette = byId("palette");
  if (palette) {
    const most = 20;  // shown of a group
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

    on("htmx:afterSwap", ({ detail }) => {
      if (detail.target?.id !== "palette-list") return;
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
