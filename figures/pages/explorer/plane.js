"use strict";
// The plane of starts: the exact basin, its edge, arrows, and what one start does under the flow and under steps.

const MARGIN = { left: 34, right: 8, top: 8, bottom: 30 };
const COLUMNS = 480; // at which the edge of the basin is computed

// Where a start is drawn in a square of this size, and which start a place is.
function projection(size, extent) {
  const width = size - MARGIN.left - MARGIN.right, height = size - MARGIN.top - MARGIN.bottom;
  return {
    box: [MARGIN.left, MARGIN.top, width, height],
    place: (a, w) => [MARGIN.left + (a / extent + 1) / 2 * width, MARGIN.top + (1 - w / extent) / 2 * height],
    start: (x, y) => [((x - MARGIN.left) / width * 2 - 1) * extent, (1 - (y - MARGIN.top) / height * 2) * extent],
  };
}

// The edge of a basin as points [a, w]: the start recovers above it.
function edgePoints(flow, extent) {
  return Array.from({ length: COLUMNS + 1 }, (_, i) => {
    const a = (i / COLUMNS * 2 - 1) * extent;
    return [a, edge(flow, a)];
  });
}

// The share of the starts a < 0 < w in the square that recover, and of all starts those that `other` does not recover.
function shares(flow, other, extent) {
  const clamp = w => Math.min(extent, Math.max(-extent, w));
  let quadrant = 0, only = 0;
  for (let i = 0; i < COLUMNS; i++) {
    const a = ((i + 0.5) / COLUMNS * 2 - 1) * extent, from = clamp(edge(flow, a));
    if (a < 0) quadrant += (extent - Math.max(0, from)) / extent;
    if (other) only += Math.max(0, clamp(edge(other, a)) - from) / (2 * extent);
  }
  return { quadrant: quadrant / (COLUMNS / 2), only: only / COLUMNS };
}

// scene: flow, other (or null), extent, start [a, w], path (of `follow`), steps (points of `descend`, may be empty).
function drawPlane(ink, size, scene, colours) {
  const { box, place } = projection(size, scene.extent);
  const [left, top, width, height] = box;
  const corners = [[left, top], [left + width, top], [left + width, top + height], [left, top + height]];
  ink.path(corners, { fill: colours.no });
  ink.within(box, () => {
    drawBasin(ink, scene, place, colours);
    drawArrows(ink, scene, place, colours);
    drawTarget(ink, scene.extent, place, colours);
    drawSteps(ink, scene.steps, place, colours);
    ink.path(scene.path.points.map(({ a, w }) => place(a, w)), { stroke: colours.ink, width: 2.2 });
  });
  drawFrame(ink, size, scene.extent, place, colours);
  const { a, w } = scene.path.points.at(-1);
  drawEnd(ink, endOf(scene.path, scene.flow), place(a, w), colours);
  const [x, y] = place(...scene.start);
  ink.dot(x, y, 8, { fill: colours.panel, stroke: colours.ink, width: 2.5 });
  ink.dot(x, y, 2.5, { fill: colours.ink });
}

function drawBasin(ink, { flow, other, extent }, place, colours) {
  const far = 2 * extent, line = edgePoints(flow, extent);
  const clipped = points => points.map(([a, w]) => place(a, Math.max(-far, Math.min(far, w))));
  const above = [...clipped(line), place(extent, far), place(-extent, far)];
  ink.path(above, { fill: colours.yes });
  if (other) {
    const theirs = edgePoints(other, extent), higher = theirs.map(([a, w], i) => [a, Math.max(w, line[i][1])]);
    ink.path([...clipped(line), ...clipped(higher).reverse()], { fill: colours.only, alpha: 0.45 });
    ink.path(clipped(theirs), { stroke: colours.quiet, width: 1.2, dash: [5, 4] });
  }
  ink.path(clipped(line), { stroke: colours.ink, width: 1.8 });
  const name = (a, w, words) => ink.text(...place(a * extent, w * extent), words,
    { fill: colours.ink, size: 14, align: "center", italic: true });
  name(0.62, 0.93, "recovers");
  name(flow.w.reachesZero ? -0.6 : 0.62, -0.93, "stuck");
}

// Arrows of equal length along the flow, on a grid that avoids the axes.
function drawArrows(ink, { flow, extent }, place, colours) {
  const count = 14, unit = 2 * extent / count, lines = [];
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < count; j++) {
      const a = (i + 0.5) * unit - extent, w = (j + 0.5) * unit - extent;
      const [slopeA, slopeW] = gradient(a, w);
      const [toA, toW] = flow.bySign ? [-Math.sign(slopeA), -Math.sign(slopeW)]
        : [-flow.a.metric(a) * slopeA, -flow.w.metric(w) * slopeW];
      const speed = Math.hypot(toA, toW);
      if (!(speed > 1e-9 && speed < Infinity)) continue;
      const [x, y] = place(a, w), [dx, dy] = [toA / speed * 6, -toW / speed * 6];
      lines.push([[x - dx, y - dy], [x + dx, y + dy]]);
      lines.push([[x + 0.3 * dx - 0.4 * dy, y + 0.3 * dy + 0.4 * dx], [x + dx, y + dy],
        [x + 0.3 * dx + 0.4 * dy, y + 0.3 * dy - 0.4 * dx]]);
    }
  }
  ink.paths(lines, { stroke: colours.ink, width: 1, alpha: 0.3 });
}

// The teacher's hyperbola aw = 1, w > 0.
function drawTarget(ink, extent, place, colours) {
  const points = Array.from({ length: 121 }, (_, i) => {
    const w = extent * (1 / extent ** 2) ** (1 - i / 120);
    return place(1 / w, w);
  });
  ink.path(points, { stroke: colours.green, width: 2, dash: [6, 4] });
  if (extent > 1.2) ink.text(...place(0.86 * extent, 1 / (0.86 * extent) - 0.1 * extent), "aw = 1",
    { fill: colours.green, size: 13, align: "center", italic: true, halo: colours.yes });
}

function drawSteps(ink, steps, place, colours) {
  if (steps.length < 2) return;
  const points = steps.slice(0, 1500).map(({ a, w }) => place(a, w));
  ink.path(points, { stroke: colours.warm, width: 1, alpha: 0.7 });
  points.slice(1, 400).forEach(([x, y]) => ink.dot(x, y, 2.3, { fill: colours.warm }));
}

// A filled circle where the flow recovers, a cross where it is stuck, a ring at the saddle, nothing while it moves.
function drawEnd(ink, end, [x, y], colours) {
  if (end === "recovers") ink.dot(x, y, 5, { fill: colours.green, stroke: colours.panel, width: 1.5 });
  if (end === "saddle") ink.dot(x, y, 5, { fill: colours.panel, stroke: colours.ink, width: 1.5 });
  if (end !== "stuck") return;
  for (const tilt of [1, -1]) ink.path([[x - 5, y - 5 * tilt], [x + 5, y + 5 * tilt]], { stroke: colours.ink, width: 2.4 });
}

function drawFrame(ink, size, extent, place, colours) {
  const quiet = { stroke: colours.ink, width: 0.8, alpha: 0.55 };
  ink.path([place(-extent, 0), place(extent, 0)], quiet);
  ink.path([place(0, -extent), place(0, extent)], quiet);
  for (const at of [-1, -0.5, 0, 0.5, 1].map(share => share * extent)) {
    const label = short(at);
    ink.text(place(at, 0)[0], size - MARGIN.bottom + 11, label, { fill: colours.quiet, size: 11, align: "center" });
    ink.text(MARGIN.left - 5, place(0, at)[1], label, { fill: colours.quiet, size: 11, align: "right" });
  }
  ink.text(place(0.25 * extent, 0)[0], size - 9, "a", { fill: colours.quiet, size: 13, italic: true });
  ink.text(4, place(0, 0.25 * extent)[1], "w", { fill: colours.quiet, size: 13, italic: true });
}
