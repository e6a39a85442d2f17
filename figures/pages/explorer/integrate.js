"use strict";
// The flow of one start: each half-plane has a smooth field of its own, and the wall w = 0 is an event between them.

// Dormand and Prince's pair of orders 5 and 4: nodes, stages, and the difference of its two results.
const NODES = [0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1];
const STAGES = [
  [],
  [1 / 5],
  [3 / 40, 9 / 40],
  [44 / 45, -56 / 15, 32 / 9],
  [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
  [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
  [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
];
const ERROR = [71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40];
const ARRIVED = 1e-9; // |aw − 1|, or |aw| where w < 0, at which a trajectory has ended
const SHORTEST = 1e-13;
const MOST_STEPS = 6000;

// One step of length h from (a, y): where it ends and the estimate of its error.
function trial(field, t, a, y, h) {
  const alongA = [], alongY = [];
  let endA = a, endY = y, errorA = 0, errorY = 0;
  for (let i = 0; i < 7; i++) {
    endA = a;
    endY = y;
    for (let j = 0; j < i; j++) {
      endA += h * STAGES[i][j] * alongA[j];
      endY += h * STAGES[i][j] * alongY[j];
    }
    [alongA[i], alongY[i]] = field(t + NODES[i] * h, endA, endY);
    errorA += h * ERROR[i] * alongA[i];
    errorY += h * ERROR[i] * alongY[i];
  }
  return { a: endA, y: endY, error: Math.hypot(errorA, errorY) };
}

// w = side·y^power with y ≥ 0: at the wall y moves at a finite speed that is not 0, where w itself would not.
function wallPower(chart, side) {
  if (chart.kind !== "power") return 1;
  if (side > 0) return chart.p < 2 ? chart.p / (2 - chart.p) : chart.p;
  return chart.p < 1 ? chart.p / (2 - 2 * chart.p) : chart.p;
}

// (da/dt, dy/dt) on one side; `decay` is the λ of the weights, or of the factors where there are some.
function fieldOf(flow, side, decay, betas) {
  if (flow.w.kind === "power") return powerField(flow.w.p, side, wallPower(flow.w, side));
  return (t, a, y) => {
    const w = side * y, [slopeA, slopeW] = sideGradient(side, a, w);
    const speedA = betas ? Math.hypot(2 * a, betas.a(t)) : flow.a.metric(a);
    const speedW = betas ? Math.hypot(2 * w, betas.w(t)) : flow.w.metric(w);
    const [fadeA, fadeW] = betas ? [2 * decay, 2 * decay] : [speedA * decay, speedW * decay];
    return [-speedA * slopeA - fadeA * a, side * (-speedW * slopeW - fadeW * w)];
  };
}

// The powers of y that cancel in dy/dt are gone before y is 0.
function powerField(p, side, power) {
  const left = side > 0 ? (p < 2 ? 0 : p - 1) : (p < 1 ? 0 : 2 * p - 1);
  return (t, a, y) => {
    const inside = Math.max(y, 0), w = side * inside ** power;
    const pull = side > 0 ? (a * w - 1) * a : a * a;
    return [-sideGradient(side, a, w)[0], -(p * p / power) * pull / 2 * inside ** left];
  };
}

// β(t) = β e^{−2λt}, which begins anew at every reset; period in flow time, 0 for never. null without factors.
function betasOf(flow, decay, period) {
  const since = t => (period ? t - period * Math.floor(t / period + 1e-9) : t);
  const shrinking = beta => t => beta * Math.exp(-2 * decay * since(t));
  return flow.factors ? { a: shrinking(flow.settings.beta_a), w: shrinking(flow.settings.beta_w) } : null;
}

// Follow a start until the time `until`. Returns the points {t, a, w}; how it ended, "recovers", "stuck", "saddle" or
// "moving"; and β of both layers as functions of time, null for a flow without factors.
function follow(flow, a0, w0, { until, tolerance = 1e-10, decay = 0, period = 0 }) {
  if (flow.bySign) return followSigns(a0, w0, until);
  const lambda = flow.decays ? decay : 0, pause = lambda ? period : 0;
  const betas = betasOf(flow, lambda, pause);
  const points = [{ t: 0, a: a0, w: w0 }];
  const ended = end => ({ points, end, betas });
  let side = Math.sign(w0) || (a0 > 0 && flow.w.reachesZero ? 1 : 0);
  if (side === 0 || (a0 === 0 && w0 < 0)) return ended(a0 === 0 && w0 === 0 ? "saddle" : "stuck");
  let t = 0, a = a0, y = Math.abs(w0) ** (1 / wallPower(flow.w, side)), h = 1e-4;
  for (let steps = 0; steps < MOST_STEPS && t < until; steps++) {
    const field = fieldOf(flow, side, lambda, betas);
    let length = Math.min(h, until - t);
    if (pause) length = Math.min(length, pause * (Math.floor(t / pause + 1e-9) + 1) - t);
    let next = trial(field, t, a, y, length);
    const allowed = tolerance * Math.hypot(next.a, next.y) + 1e-14;
    const factor = Math.min(5, Math.max(0.2, 0.9 * (allowed / Math.max(next.error, 1e-300)) ** 0.2));
    // From a > 0 on w > 0, and from w < 0 unless w can reach 0, a step that lands behind the wall was too long.
    const behind = next.y < 0 && !(side > 0 ? a < 0 : flow.w.reachesZero && next.a > 0);
    if ((!(next.error <= allowed) || behind) && length > SHORTEST) {
      h = length * Math.min(0.5, factor || 0.2);
      continue;
    }
    const atWall = next.y <= 0;
    if (atWall) [length, next] = stepToWall(field, t, a, y, length);
    t += length;
    ({ a, y } = next);
    h = length * factor;
    points.push({ t, a, w: atWall ? 0 : side * y ** wallPower(flow.w, side) });
    if (atWall && (side > 0 || a <= 0)) return ended("stuck");
    if (atWall) [side, h] = [1, 1e-9];
    const end = lambda || atWall ? "" : rest(flow, side, points.at(-1));
    if (end) return ended(end);
  }
  return ended("moving");
}

// The length of the step that ends on y = 0, by bisection, and its end.
function stepToWall(field, t, a, y, length) {
  let low = 0, high = length;
  while (high - low > 1e-15 * (t + high) && (low + high) / 2 > low) {
    const middle = (low + high) / 2;
    if (trial(field, t, a, y, middle).y > 0) low = middle;
    else high = middle;
  }
  return [high, { ...trial(field, t, a, y, high), y: 0 }];
}

function rest(flow, side, { a, w }) {
  if (side > 0 && Math.abs(a * w - 1) <= ARRIVED) return "recovers";
  if (side > 0) return a < 0 && a * a + w * w < 1e-16 ? "saddle" : "";
  return !flow.w.reachesZero && Math.abs(a * w) <= ARRIVED ? "stuck" : "";
}

// How a path ends for a reader: one that is within a thousandth of the teacher, or of rest below 0, has ended.
function endOf({ points, end }, flow) {
  const last = points.at(-1), resting = last.w < 0 && !flow.w.reachesZero && Math.abs(last.a * last.w) < 1e-3;
  return end !== "moving" ? end : isTaught(last) ? "recovers" : resting ? "stuck" : end;
}

const isTaught = ({ a, w }) => w > 0 && Math.abs(a * w - 1) < 1e-3;

// Sign descent moves both weights at speed 1, so its path is straight between the places where a slope changes sign.
function followSigns(a0, w0, until) {
  const points = [{ t: 0, a: a0, w: w0 }];
  let t = 0, a = a0, w = w0, end = "";
  for (let piece = 0; piece < 5 && t < until && !end; piece++) {
    if (Math.abs(a * w - 1) <= ARRIVED && w > 0) end = "recovers";
    else if (a === 0 && w === 0) end = "saddle";
    else if ((w === 0 && a < 0) || (a === 0 && w < 0)) end = "stuck";
    else {
      const { length, toA, toW } = straightPiece(a, w);
      const whole = Math.min(length, until - t);
      for (let i = 1; i <= 24; i++) {
        const part = whole * (i / 24); // the last one is exact, so that a and w arrive at 0 itself
        points.push({ t: t + part, a: a + toA * part, w: w + toW * part });
      }
      t += whole;
      ({ a, w } = points.at(-1));
    }
  }
  return { points, end: end || "moving", betas: null };
}

// The direction of sign descent at (a, w), and how long it keeps it.
function straightPiece(a, w) {
  if (w < 0) return { toA: -Math.sign(a), toW: 1, length: Math.min(Math.abs(a), -w) };
  if (a < 0) return { toA: 1, toW: -1, length: Math.min(-a, w) };
  const toward = a * w < 1 ? 1 : -1, root = Math.sqrt((a + w) ** 2 - 4 * (a * w - 1));
  return { toA: toward, toW: toward, length: Math.abs(root - (a + w)) / 2 };
}
