"use strict";
// What training does: steps of gradient descent at a learning rate, with noise, weight decay and resets.

// A generator of uniform numbers in (0, 1) whose seed fixes every draw (mulberry32).
function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return (((x ^ (x >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
}

function normals(seed) {
  const draw = uniform(seed);
  return () => Math.sqrt(-2 * Math.log(draw())) * Math.cos(2 * Math.PI * draw());
}

// The gradient on 8 fresh inputs x ~ N(0, 1) whose labels carry noise of this size; without noise, the population's.
function noisyGradient(a, w, noise, normal) {
  const [slopeA, slopeW] = gradient(a, w);
  if (!noise || w === 0) return [slopeA, slopeW];
  let square = 0, tilt = 0;
  for (let i = 0; i < 8; i++) {
    const x = normal(), error = noise * normal();
    if (x * w > 0) {
      square += x * x / 8;
      tilt += x * error / 8;
    }
  }
  return [2 * square * slopeA - tilt * w, 2 * square * slopeW - tilt * a];
}

// How each kind of chart takes a step: its coordinates of θ, θ of them, and the coordinates after a step.
// slope is ∂L/∂θ, and decay the λ of weight decay coupled to the gradient.
const STEPPERS = {
  identity: chart => plainStepper(1),
  scaled: chart => plainStepper(chart.rate),
  product: chart => ({
    write: theta => factorsOf(theta, chart.beta),
    read: ([m, w]) => m * w,
    step: ([m, w], slope, lr, decay) => [m - lr * (slope * w + decay * m), w - lr * (slope * m + decay * w)],
  }),
  hypentropy: chart => ({ // the mirror step of UnitSpeed
    ...plainStepper(1),
    step: ([theta], slope, lr) =>
      [chart.beta / 2 * Math.sinh(Math.asinh(2 * theta / chart.beta) - 2 * lr * slope / chart.beta)],
  }),
  hyperbolic: chart => ({ // a plain step, and then HAM's multiplicative one
    ...plainStepper(1),
    step([theta], slope, lr) {
      const moved = theta - lr * slope, exponent = -chart.alpha * lr * Math.sign(moved) * slope;
      return [moved * Math.exp(Math.min(5, Math.max(-5, exponent)))];
    },
  }),
  power: ({ p }) => ({
    write: theta => [Math.sign(theta) * Math.abs(theta) ** (1 / p)],
    read: ([u]) => Math.sign(u) * Math.abs(u) ** p,
    step: ([u], slope, lr) => [u === 0 ? 0 : u - lr * slope * p * Math.abs(u) ** (p - 1)],
  }),
  sign: () => ({ ...plainStepper(1), step: ([theta], slope, lr) => [theta - lr * Math.sign(slope)] }),
};

function plainStepper(rate) {
  return {
    write: theta => [theta],
    read: ([theta]) => theta,
    step: ([theta], slope, lr, decay) => [theta - lr * rate * (slope + decay * theta)],
  };
}

// Take steps; returns the points {t, a, w, factors: {a, w}} with t = step·lr. It stops where a weight leaves all bounds.
function descend(flow, a0, w0, { lr, steps, noise = 0, decay = 0, reset = 0, seed = 0 }) {
  const [layerA, layerW] = [flow.a, flow.w].map(chart => STEPPERS[chart.kind](chart));
  const normal = normals(seed), lambda = flow.decays ? decay : 0;
  let inA = layerA.write(a0), inW = layerW.write(w0);
  const points = [{ t: 0, a: a0, w: w0, factors: { a: inA, w: inW } }];
  for (let count = 1; count <= steps; count++) {
    const { a, w } = points.at(-1);
    const [slopeA, slopeW] = noisyGradient(a, w, noise, normal);
    inA = layerA.step(inA, slopeA, lr, lambda);
    inW = layerW.step(inW, slopeW, lr, lambda);
    const next = { t: count * lr, a: layerA.read(inA), w: layerW.read(inW) };
    if (flow.factors && reset && count % reset === 0) [inA, inW] = [layerA.write(next.a), layerW.write(next.w)];
    points.push({ ...next, factors: { a: inA, w: inW } });
    if (!(Math.abs(next.a) < 1e6 && Math.abs(next.w) < 1e6)) break;
  }
  return points;
}

// How the steps ended: "recovers", "stuck", "diverges" or "moving".
function outcomeOf(points) {
  const { a, w } = points.at(-1);
  if (!(Math.abs(a) < 1e6 && Math.abs(w) < 1e6)) return "diverges";
  if (w > 0 && Math.abs(a * w - 1) <= 0.1) return "recovers";
  return w <= 0 && Math.abs(a * w) <= 0.1 ? "stuck" : "moving";
}
