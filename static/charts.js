// Makes every [data-chart] figure live with Plotly. The page has already drawn the same, so the library is only
// fetched when someone reaches for the chart. The figure is JSON from the server; its colours, var(--name), are filled in here.
(() => {
  const { plotly: src } = document.currentScript.dataset;
  const config = { displayModeBar: false, responsive: true, doubleClick: false, showTips: false };
  const exact = new Intl.NumberFormat("en-US", { maximumFractionDigits: 4 });
  let library;

  const plotly = () => (library ??= window.Plotly ? Promise.resolve() : new Promise((onload, failed) => {
    const onerror = () => { library = undefined; failed(); };
    document.head.append(Object.assign(document.createElement("script"), { src, onload, onerror }));
  }));

  function figure(box) {
    const css = getComputedStyle(box);
    return JSON.parse(box.dataset.figure, (_, value) =>
      typeof value === "string" && value.startsWith("var(") ? css.getPropertyValue(value.slice(4, -1)).trim() : value);
  }

  async function draw(box) {
    try { await plotly(); } catch { return arm(box); }  // the page's own bars stay
    if (!box.isConnected) return;
    const plot = box.querySelector(".chart-live");
    const { data, layout } = figure(box);
    await window.Plotly.react(plot, data, layout, config);
    box.classList.add("is-live");
    if (!plot.dataset.wired) wire(plot);
  }

  const element = (name, facts, ...children) => {
    const made = Object.assign(document.createElement(name), facts);
    made.append(...children);
    return made;
  };
  // The table beside the chart is its legend, and knows the names.
  const named = (id) => document.querySelector(`[data-series="${CSS.escape(id)}"]`)?.textContent.trim() ?? id;

  function wire(plot) {
    plot.dataset.wired = "yes";
    const tip = element("div", { className: "tip", hidden: true, role: "status" });
    const band = element("div", { className: "band", hidden: true });
    const hide = () => { tip.hidden = band.hidden = true; };
    let shown = -1;

    // Shows bar n: what it is called, what stands in it, and what came and went.
    function show(n) {
      const { meta, xaxis, yaxis } = plot._fullLayout;
      shown = Math.max(0, Math.min(meta.names.length - 1, Math.round(n)));
      const width = xaxis._length / meta.names.length, left = xaxis._offset + width * shown;
      let sum = 0;
      const rows = plot._fullData.filter(({ mode }) => mode !== "text").flatMap(({ name, y, marker, fillcolor }) => {
        const value = y[shown + (meta.skip ?? 0)];
        if (!Number(value) && meta.sum) return [];
        sum += Number(value);
        const key = element("i", { className: "key" });
        key.style.background = fillcolor ?? marker.color;
        return [element("div", {}, key, element("span", { textContent: named(name) }), element("b", { textContent: exact.format(value) }))];
      });
      const note = meta.notes?.[shown];
      plot.append(band, tip);
      tip.replaceChildren(
        element("div", { className: "tip-head" },
          element("span", { textContent: meta.names[shown] }), ...(meta.sum ? [element("b", { textContent: exact.format(sum) })] : [])),
        ...rows, ...(note ? [element("div", { textContent: note })] : []));
      tip.hidden = band.hidden = false;
      Object.assign(band.style, { left: `${left}px`, width: `${width}px`, top: `${yaxis._offset}px`, height: `${yaxis._length}px` });
      const beside = left + width + 8 + tip.offsetWidth > plot.clientWidth ? left - tip.offsetWidth - 8 : left + width + 8;
      tip.style.left = `${Math.max(0, beside)}px`;
    }
    function drill(n) {
      const { meta } = plot._fullLayout;
      hide();
      if (meta.drill) plot.dispatchEvent(new CustomEvent("drill", { bubbles: true, detail: { names: meta.drill, key: meta.keys[n] } }));
    }
    plot.on("plotly_hover", ({ points }) => show(points[0].x));
    plot.on("plotly_unhover", hide);
    // plotly_click is lost where a hover that waited comes between press and release.
    plot.addEventListener("click", ({ target, clientX }) => {
      const { left, width } = target.getBoundingClientRect();
      if (target.matches(".nsewdrag")) drill(Math.floor((clientX - left) / width * plot._fullLayout.meta.names.length));
    });
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) show(shown < 0 ? plot._fullLayout.meta.names.length - 1 : shown + step);
      else if (event.key === "Enter" && shown >= 0) drill(shown);
      else if (event.key === "Escape") hide();
      else return;
      event.preventDefault();
    });
  }

  const intents = ["pointerenter", "touchstart", "focusin"];
  const arm = (box) => intents.forEach((sign) => box.addEventListener(sign, () => draw(box), { once: true, passive: true }));

  function scan() {
    for (const box of document.querySelectorAll("[data-chart]:not(.is-live)"))
      box.querySelector(".chart-live")._fullLayout ? draw(box) : arm(box);
  }
  for (const name of ["htmx:afterSwap", "htmx:historyRestore"]) document.addEventListener(name, scan);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.querySelectorAll("[data-chart].is-live").forEach(draw));
  scan();
})();
