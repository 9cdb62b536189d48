// Makes every [data-chart] figure live with Plotly. The page has already drawn the same bars, so the library is only
// fetched when someone reaches for the chart. The figure is JSON from the server; its colours, var(--name), are filled in here.
(() => {
  const { plotly: src } = document.currentScript.dataset;
  const config = { displayModeBar: false, responsive: true, doubleClick: false, showTips: false };
  const exact = new Intl.NumberFormat("en-US", { maximumFractionDigits: 4 });
  const date = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long", timeZone: "UTC" });
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
  const named = (id) => document.querySelector(`[data-provider="${id}"], [data-series="${id}"]`)?.textContent.trim() ?? id;

  function wire(plot) {
    plot.dataset.wired = "yes";
    const tip = element("div", { className: "tip", hidden: true });
    const band = element("div", { className: "band", hidden: true });
    const dayOf = ({ points }) => String(points[0].x).slice(0, 10);
    const hide = () => { tip.hidden = band.hidden = true; };
    plot.on("plotly_hover", (event) => {
      plot.append(band, tip);
      const { xaxis, yaxis } = event.points[0];
      const width = xaxis._length / plot.data[0].y.length;
      const left = xaxis._offset + xaxis.d2p(event.points[0].x) - width / 2;
      const rows = event.points.filter((p) => Number(p.y)).sort((a, b) => a.curveNumber - b.curveNumber).map(({ data: trace, y, fullData }) => {
        const key = element("i", { className: "key" });
        key.style.background = fullData.marker.color;
        return element("div", {}, key, element("span", { textContent: named(trace.name) }), element("b", { textContent: exact.format(y) }));
      });
      const total = event.points.reduce((sum, p) => sum + Number(p.y), 0);
      tip.replaceChildren(
        element("div", { className: "tip-head" },
          element("span", { textContent: date.format(new Date(dayOf(event))) }), element("b", { textContent: exact.format(total) })),
        ...rows);
      tip.hidden = band.hidden = false;
      Object.assign(band.style, { left: `${left}px`, width: `${width}px`, top: `${yaxis._offset}px`, height: `${yaxis._length}px` });
      const beside = left + width + 8 + tip.offsetWidth > plot.clientWidth ? left - tip.offsetWidth - 8 : left + width + 8;
      tip.style.left = `${Math.max(0, beside)}px`;
    });
    plot.on("plotly_unhover", hide);
    plot.on("plotly_click", (event) => {
      hide();
      plot.dispatchEvent(new CustomEvent("drill", { bubbles: true, detail: { day: dayOf(event) } }));
    });
  }

  const intents = ["pointerenter", "touchstart", "focusin"];
  const arm = (box) => intents.forEach((sign) => box.addEventListener(sign, () => draw(box), { once: true, passive: true }));

  function scan() {
    for (const box of document.querySelectorAll("[data-chart]:not(.is-live)"))
      box.querySelector(".chart-live")._fullLayout ? draw(box) : arm(box);
  }
  for (const name of ["htmx:afterSwap", "htmx:after:swap", "htmx:historyRestore"]) document.addEventListener(name, scan);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.querySelectorAll("[data-chart].is-live").forEach(draw));
  scan();
})();
