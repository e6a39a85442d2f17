"use strict";
// What one start does in time: the weights, the loss, the factors and β, under the flow (lines) and under steps (dots).

const GAP = 26;

// scene: flow, path, steps, time. Draws two panels, and four for a flow with factors, below each other.
function drawSeries(ink, width, height, scene, colours) {
  const panels = panelsOf(scene, colours), each = (height - 22 - GAP * (panels.length - 1)) / panels.length;
  panels.forEach((panel, i) => {
    const box = [40, 14 + i * (each + GAP), width - 70, each - 14];
    drawPanel(ink, box, panel, scene.time, colours, i === panels.length - 1);
  });
}

function panelsOf({ flow, path, steps, time }, colours) {
  const shown = steps.filter(({ t }) => t <= time * 1.0001), drawn = extended(path, time);
  const curve = (label, colour, ofFlow, ofStep, dash = []) => ({
    label, colour, dash,
    line: drawn.map(point => [point.t, ofFlow(point)]),
    dots: shown.map(point => [point.t, ofStep(point)]),
  });
  const weight = name => point => point[name];
  const panels = [
    { title: "weights", curves: [
      curve("a", colours.accent, weight("a"), weight("a")), curve("w", colours.green, weight("w"), weight("w"))] },
    { title: "loss", floor: 0, curves: [curve("L", colours.ink, ({ a, w }) => loss(a, w), ({ a, w }) => loss(a, w))] },
  ];
  if (!flow.factors) return panels;
  const factor = (layer, i) => curve(`${"mw"[i]}_${layer}`, layer === "a" ? colours.accent : colours.green,
    point => factorsOf(point[layer], path.betas[layer](point.t))[i], point => point.factors[layer][i], i ? [4, 3] : []);
  const beta = layer => curve(`β_${layer}`, layer === "a" ? colours.accent : colours.green,
    ({ t }) => path.betas[layer](t), ({ factors }) => factors[layer][0] ** 2 - factors[layer][1] ** 2);
  panels.push({ title: "factors: m solid, w dashed", curves: [factor("a", 0), factor("a", 1), factor("w", 0), factor("w", 1)] });
  panels.push({ title: "β = m² − w²", floor: 0, curves: [beta("a"), beta("w")] });
  return panels;
}

// The points of a path up to a time; one that has ended stays where it is, and β is drawn on beside it.
function extended({ points, end, betas }, time) {
  const last = points.at(-1);
  if (end === "moving" || last.t >= time) return points;
  const more = betas ? 60 : 1;
  return [...points, ...Array.from({ length: more }, (_, i) => ({ ...last, t: last.t + (time - last.t) * (i + 1) / more }))];
}

function drawPanel(ink, [left, top, width, height], { title, curves, floor, unit = "flow time" }, time, colours, lowest) {
  const values = curves.flatMap(({ line, dots }) => [...line, ...dots].map(([, value]) => value)).filter(Number.isFinite);
  let low = Math.max(-1e3, Math.min(floor ?? Infinity, ...values)), high = Math.min(1e3, Math.max(...values));
  if (high - low < 1e-9) [low, high] = [low - 0.5 * (floor === undefined), high + 0.5];
  high += 0.06 * (high - low);
  const place = ([t, value]) => [left + t / time * width, top + (high - value) / (high - low) * height];
  ink.text(left, top - 9, title, { fill: colours.quiet, size: 11 });
  ink.path([[left, top], [left, top + height], [left + width, top + height]], { stroke: colours.line, width: 1 });
  if (low < 0 && high > 0) ink.path([place([0, 0]), place([time, 0])], { stroke: colours.line, width: 1, dash: [2, 3] });
  const ticks = [low, high].map(value => niceInside(value, low, high));
  for (const value of new Set(ticks)) {
    ink.text(left - 5, place([0, value])[1], short(value), { fill: colours.quiet, size: 10.5, align: "right" });
  }
  ink.within([left - 3, top - 3, width + 6, height + 6], () => curves.forEach(({ colour, dash, line, dots, width: thick = 1.8 }) => {
    ink.path(line.map(place), { stroke: colour, width: thick, dash });
    if (dots.length < 2) return;
    ink.path(dots.map(place), { stroke: colour, width: 0.8, alpha: 0.6 });
    if (width / dots.length > 2.5) dots.map(place).forEach(([x, y]) => ink.dot(x, y, 2, { fill: colour, alpha: 0.9 }));
  }));
  drawLabels(ink, curves, place, [left, top, width, height], colours);
  if (!lowest) return;
  for (const t of [0, time / 2, time]) {
    ink.text(left + t / time * width, top + height + 11, short(t), { fill: colours.quiet, size: 10.5, align: "center" });
  }
  ink.text(left + width * 0.75, top + height + 11, unit, { fill: colours.quiet, size: 10.5, align: "center" });
}

// The names of curves at their right ends, moved apart where they would overlap.
function drawLabels(ink, curves, place, [left, top, width, height], colours) {
  const ends = curves.filter(({ label, line }) => label && line.length).map(({ label, colour, line }) => ({ label, colour, y: place(line.at(-1))[1] }));
  ends.sort((first, second) => first.y - second.y);
  ends.forEach((end, i) => { end.y = Math.max(end.y, i ? ends[i - 1].y + 11 : top + 2); });
  const over = Math.max(0, (ends.at(-1)?.y ?? 0) - top - height);
  for (const { label, colour, y } of ends) ink.text(left + width + 5, y - over, label, { fill: colour, size: 11 });
}

// A round number inside [low, high], near one of its ends.
function niceInside(value, low, high) {
  const unit = 10 ** Math.floor(Math.log10((high - low) / 2));
  const round = value === low ? Math.ceil(low / unit - 1e-9) : Math.floor(high / unit + 1e-9);
  return round * unit;
}

const short = value => String(Number(value.toPrecision(3))).replace("-", "−");
