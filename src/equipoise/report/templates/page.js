// The page of a run: draws the charts, moves through the samples, and, where it is served, follows the run.
(() => {
  "use strict";
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const DASHES = [[], [7, 4], [2, 3], [], [9, 3], [3, 3], [12, 3, 2, 3]];  // beside the colours, for those who see none
  const tip = $("#tip");
  let plots = [], data = null;

  // ------------------------------------------------------------------------------------------------ charts
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const brief = (value) => value == null ? "–" : value && (Math.abs(value) < 0.001 || Math.abs(value) >= 1e5)
    ? value.toExponential(3).replace(/\.?0*e/, "e") : String(Number(value.toPrecision(4)));

  function range(chart) {  // of the vertical axis: the lines, and where they are balanced
    return (u, low, high) => {
      if (low == null) return [0, 1];
      for (const edge of chart.band || []) {
        if (edge != null) { low = Math.min(low, edge); high = Math.max(high, edge); }
      }
      const margin = (high - low) * 0.08 || Math.abs(high) * 0.1 || 0.5;
      return [low >= 0 && low < margin ? 0 : low - margin, high + margin];
    };
  }

  function powers(u, axis, low, high) {  // where a logarithmic axis has its numbers: six at most
    const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
    const every = Math.ceil((last - first) / 6), steps = last - first > 2 ? [1] : [1, 2, 5];
    const found = [];
    for (let power = first; power <= last; power += every) found.push(...steps.map((step) => step * 10 ** power));
    return found.filter((value) => value >= low && value <= high);
  }

  function behind(chart) {  // the stretches where findings hold, and the band where the signal is balanced
    return (u) => {
      const { left, top, width, height } = u.bbox, ctx = u.ctx, to = (x) => u.valToPos(x, "x", true);
      ctx.save();
      for (const span of chart.spans) {
        const start = Math.max(left, to(span.since)), end = Math.min(left + width, to(data.now));
        ctx.fillStyle = colour(`--${span.severity}-wash`);
        ctx.fillRect(start, top, Math.max(end - start, 3), height);
      }
      if (chart.band) {
        const [low, high] = chart.band, y = (v, open) => v == null ? open : u.valToPos(v, "y", true);
        const from = Math.max(y(high, top), top), until = Math.min(y(low, top + height), top + height);
        const line = low === high;
        ctx.fillStyle = colour(line ? "--soft" : "--band");
        if (until >= from) ctx.fillRect(left, from, width, line ? devicePixelRatio : until - from);
      }
      ctx.restore();
    };
  }

  function marks(u) {  // the moves, at the lower edge
    const { top, height } = u.bbox, ctx = u.ctx, tall = 7 * devicePixelRatio;
    ctx.save();
    ctx.strokeStyle = colour("--soft");
    ctx.lineWidth = devicePixelRatio;
    ctx.beginPath();
    for (const move of data.moves) {
      const x = Math.round(u.valToPos(move.kimg, "x", true)) + 0.5;
      ctx.moveTo(x, top + height);
      ctx.lineTo(x, top + height - tall);
    }
    ctx.stroke();
    ctx.restore();
  }

  function told(figure, chart) {  // the values at the cursor, or the last ones
    const outputs = $$("output", figure);
    return (u) => chart.lines.forEach((line, number) => {
      let at = u.cursor.idx ?? line.y.length - 1;
      while (at > 0 && line.y[at] == null) at -= 1;
      outputs[number].textContent = brief(line.y[at]);
    });
  }

  function draw() {
    plots.forEach((plot) => plot.destroy());
    data = JSON.parse($("#data").textContent);
    const ink = colour("--soft"), rule = colour("--rule"), font = "11px system-ui, sans-serif";
    const axis = { stroke: ink, font, grid: { stroke: rule, width: 1 }, ticks: { show: false } };
    plots = $$(".chart").map((figure) => {
      const chart = data.charts[Number(figure.dataset.chart)], place = $(".plot", figure);
      const series = chart.lines.map((line) => ({
        stroke: colour(`--s${line.style % 7}`), dash: DASHES[line.style % 7], width: 1.8, spanGaps: true,
        points: { show: chart.x.length < 3 },
        ...(chart.stepped ? { paths: uPlot.paths.stepped({ align: 1 }) } : {}),
      }));
      const tell = told(figure, chart);
      const plot = new uPlot({
        width: place.clientWidth, height: 168, padding: [8, 8, 0, 0], legend: { show: false },
        scales: {
          x: { time: false, range: [0, data.end || 1] },
          y: chart.log ? { distr: 3 } : { range: range(chart) },
        },
        axes: [{ ...axis, size: 24 }, {
          ...axis, size: 50, values: (u, ticks) => ticks.map((v) => v == null ? "" : brief(v)),
          ...(chart.log ? { splits: powers, filter: (u, ticks) => ticks } : {}),
        }],
        series: [{}, ...series],
        cursor: { sync: { key: "page", scales: ["x", null] }, drag: { x: false, y: false }, y: false },
        hooks: { drawClear: [behind(chart)], draw: [marks], setCursor: [tell] },
      }, [chart.x, ...chart.lines.map((line) => line.y)], place);
      tell(plot);
      plot.over.addEventListener("mousemove", (event) => explain(plot, chart, event));
      plot.over.addEventListener("mouseleave", () => { tip.hidden = true; });
      for (const kind of ["touchstart", "touchmove"]) {  // a finger reads as a mouse does, and still scrolls the page
        plot.over.addEventListener(kind, (event) => touch(plot, chart, event.touches[0]), { passive: true });
      }
      return plot;
    });
  }

  function explain(plot, chart, event) {  // what happened near the cursor
    const at = event.clientX - plot.over.getBoundingClientRect().left, near = (kimg) => Math.abs(plot.valToPos(kimg, "x") - at) < 6;
    const moves = data.moves.filter((move) => near(move.kimg)).map((move) => move.text);
    const held = chart.spans.filter((span) => plot.posToVal(at, "x") >= span.since && plot.posToVal(at, "x") <= data.now);
    const lines = [...held.map((span) => `${span.severity}: ${span.name}, since ${brief(span.since)} kimg`), ...moves.slice(0, 4)];
    if (moves.length > 4) lines.push(`and ${moves.length - 4} more moves`);
    tip.hidden = !lines.length;
    tip.textContent = lines.join("\n");
    const room = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(6, Math.min(event.clientX + 14, innerWidth - room.width - 6))}px`;
    tip.style.top = `${Math.max(6, event.clientY - room.height - 14)}px`;
  }

  function touch(plot, chart, finger) {
    const box = plot.over.getBoundingClientRect();
    plot.setCursor({ left: finger.clientX - box.left, top: finger.clientY - box.top }, true);
    explain(plot, chart, finger);
  }

  function fit() {
    for (const plot of plots) {
      const width = plot.root.parentElement.clientWidth;
      if (width && width !== plot.width) plot.setSize({ width, height: plot.height });
    }
  }

  // ------------------------------------------------------------------------------------------------ samples
  function show(box) {  // the grid that the slider points at
    const slider = $("input", box);
    if (!slider) return;
    $$(".fakes img", box).forEach((image, number) => { image.hidden = number !== Number(slider.value); });
    const image = $(".fakes img:not([hidden])", box);
    $("output", box).textContent = `${image.dataset.kimg} kimg`;
    slider.setAttribute("aria-valuetext", `${image.dataset.kimg} kimg`);
  }

  // ------------------------------------------------------------------------------------------------ live
  function swap(name, html, stamp) {  // a section for its newer self; what was open stays open, a slider keeps its moment
    const section = document.getElementById(name);
    const open = $$("details[open]", section).map((one) => one.dataset.key);
    const seen = $$(".samples", section).map((box) => {
      const slider = $("input", box);
      return slider && slider.value !== slider.max ? $(".fakes img:not([hidden])", box).dataset.kimg : null;
    });
    section.innerHTML = html;
    section.dataset.stamp = stamp;
    section.hidden = !html;
    $$("details", section).forEach((one) => { one.open = one.open || open.includes(one.dataset.key); });
    $$(".samples", section).forEach((box, number) => {
      const at = $$(".fakes img", box).findIndex((image) => image.dataset.kimg === seen[number]);
      if (at >= 0) { $("input", box).value = at; show(box); }
    });
    if (name === "timeline") draw();
  }

  async function follow() {
    const known = new URLSearchParams($$("section").map((one) => [one.id, one.dataset.stamp]));
    const live = () => $("#live"), say = (text, lost) => {
      live().classList.toggle("lost", lost);
      $("span", live()).textContent = text;
    };
    try {
      const answer = await fetch(`/changes?${known}`, { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.statusText);
      for (const [name, { html, stamp }] of Object.entries(await answer.json())) swap(name, html, stamp);
      say("following the run: this page changes by itself", false);
    } catch {
      say("the command that serves this page has ended; what you see is how it stood then", true);
    }
    setTimeout(follow, 2000);
  }

  // ------------------------------------------------------------------------------------------------ begin
  draw();
  addEventListener("resize", fit);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  document.addEventListener("input", (event) => {
    const box = event.target.closest(".samples");
    if (box) show(box);
  });
  if ("live" in document.body.dataset) setTimeout(follow, 2000);
})();
