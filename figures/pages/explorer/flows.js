"use strict";
// The charts and flows of theory/: metric g, radius ρ = sign(θ)√E and its inverse, and which start recovers.
// A weight moves by dθ/dt = −g(θ) ∂L/∂θ, and the student is a·relu(w·x) with one input.

const identity = { kind: "identity", metric: () => 1, radius: theta => theta, weight: rho => rho };

const scaled = rate => ({
  kind: "scaled", rate,
  metric: () => rate,
  radius: theta => theta / Math.sqrt(rate),
  weight: rho => rho * Math.sqrt(rate),
});

// θ = m·w with m² − w² = β: the radius is the factor w.
const product = beta => ({
  kind: "product", beta,
  metric: theta => Math.hypot(2 * theta, beta),
  radius: theta => theta / Math.sqrt(Math.hypot(theta, beta / 2) + beta / 2),
  weight: rho => rho * Math.hypot(rho, Math.sqrt(beta)),
});

const hypentropy = beta => ({
  kind: "hypentropy", beta,
  metric: theta => Math.hypot(1, 2 * theta / beta),
  radius: theta => theta / Math.sqrt(0.5 + Math.hypot(0.5, theta / beta)),
  weight: rho => rho * Math.hypot(1, rho / beta),
});

// (x − ln(1 + x))/x² for x ≥ 0; a series where the difference would cancel.
function deficit(x) {
  if (x > 0.5) return (1 - Math.log1p(x) / x) / x;
  const z = x / (2 + x);
  let tail = 0;
  for (let k = 11; k >= 0; k--) tail = tail * z * z + 1 / (2 * k + 3);
  return (1 - 2 * z * tail / (2 + x)) / (2 + x);
}

const hyperbolic = alpha => ({
  kind: "hyperbolic", alpha,
  metric: theta => 1 + alpha * Math.abs(theta),
  radius: theta => theta * Math.sqrt(2 * deficit(alpha * Math.abs(theta))),
  weight(rho) {
    // With x = α|θ| and r = α|ρ|, solve x√(2·deficit(x)) = r by Newton's method from a start within 3 %.
    const r = alpha * Math.abs(rho);
    let x = r < 2 ? r * (1 + r * (1 / 3 + r / 36)) : r * r / 2 + Math.log1p(r * (1 + r / 2));
    for (let k = 0; k < 3; k++) {
      const root = Math.sqrt(2 * deficit(x));
      x -= (x * root - r) * (1 + x) * root;
    }
    return rho / Math.sqrt(2 * deficit(x));
  },
});

const signedPower = p => ({
  kind: "power", p,
  reachesZero: p < 1,
  metric: theta => p * p * Math.abs(theta) ** (2 - 2 / p),
  radius: theta => Math.sign(theta) * Math.abs(theta) ** (1 / p) / Math.sqrt(p),
  weight: rho => Math.sign(rho) * (Math.sqrt(p) * Math.abs(rho)) ** p,
});

const signIdentity = {
  kind: "sign", reachesZero: true,
  metric: () => 1,
  radius: theta => Math.sign(theta) * Math.sqrt(Math.abs(theta)),
  weight: rho => rho * Math.abs(rho),
};

// A slider: its label, its range and default, and whether it is logarithmic.
const slider = (label, low, high, value, log = true) => ({ label, low, high, value, log });
const layers = (letter, low, high, a, w, log = true) =>
  [slider(`${letter}_a`, low, high, a, log), slider(`${letter}_w`, low, high, w, log)];

// Every flow by its name in theory.FLOWS: title, what it conserves, its sliders, and the charts of a and of w.
const FLOWS = {
  "standard": { title: "Standard", keeps: "a² − w²", sliders: {}, charts: () => [identity, identity], decays: true },
  "layer-rates": {
    title: "Layer rates", keeps: "a²/η_a − w²/η_w", decays: true,
    sliders: named(["rate_a", "rate_w"], layers("η", 0.05, 20, 1, 0.25)),
    charts: s => [scaled(s.rate_a), scaled(s.rate_w)],
  },
  "sign-in": {
    title: "Sign-In", keeps: "√(4a² + β_a²) − √(4w² + β_w²)", decays: true, factors: true,
    sliders: named(["beta_a", "beta_w"], layers("β", 0.01, 10, 1, 0.25)),
    charts: s => [product(s.beta_a), product(s.beta_w)],
  },
  "unit-speed": {
    title: "Unit speed", keeps: "½β_a√(4a² + β_a²) − ½β_w√(4w² + β_w²)",
    sliders: named(["beta_a", "beta_w"], layers("β", 0.01, 10, 0.25, 1)),
    charts: s => [hypentropy(s.beta_a), hypentropy(s.beta_w)],
  },
  "ham": {
    title: "HAM", keeps: "E_a(a) − E_w(w), E = (2/α)(|θ| − ln(1 + α|θ|)/α)",
    sliders: named(["alpha_a", "alpha_w"], layers("α", 0, 32, 8, 2, false)),
    charts: s => [hyperbolic(s.alpha_a), hyperbolic(s.alpha_w)],
  },
  "power": {
    title: "Power p", keeps: "a² − |w|^(2/p)/p",
    sliders: named(["p"], [slider("p", 0.3, 3, 0.5)]),
    charts: s => [identity, signedPower(s.p)],
  },
  "sign-descent": {
    title: "Sign descent", keeps: "|a| − |w|", sliders: {}, charts: () => [signIdentity, signIdentity], bySign: true,
  },
};

function named(names, values) {
  return Object.fromEntries(names.map((name, i) => [name, values[i]]));
}

// A flow with its settings, such as makeFlow("sign-in", { beta_a: 1, beta_w: 0.25 }).
function makeFlow(name, given = {}) {
  const kind = FLOWS[name];
  const settings = Object.fromEntries(Object.entries(kind.sliders).map(([key, s]) => [key, given[key] ?? s.value]));
  const [a, w] = kind.charts(settings);
  return { name, ...kind, settings, a, w, equal: JSON.stringify(a) === JSON.stringify(w) };
}

// Whether the flow from (a0, w0) ends at the teacher aw = 1, w > 0: exactly theory.recovers.
function recovers(flow, a0, w0) {
  const inside = flow.equal ? a0 > -w0 : flow.a.radius(a0) + flow.w.radius(w0) > 0;
  return inside && (flow.w.reachesZero || w0 > 0);
}

// "recovers", "saddle" or "stuck", as theory.fate.
function fate(flow, a0, w0) {
  if (recovers(flow, a0, w0)) return "recovers";
  const [first, second] = flow.equal ? [a0, w0] : [flow.a.radius(a0), flow.w.radius(w0)];
  return Math.abs(first) === Math.abs(second) ? "saddle" : "stuck";
}

// The least w from which a start with this a recovers: the edge of the basin.
function edge(flow, a) {
  const onCurve = flow.w.weight(-flow.a.radius(a));
  return flow.w.reachesZero ? onCurve : Math.max(0, onCurve);
}

// (∂L/∂a, ∂L/∂w) of the formula that holds on one side of w = 0, also when continued past it.
function sideGradient(side, a, w) {
  return side > 0 ? [(a * w - 1) * w / 2, (a * w - 1) * a / 2] : [a * w * w / 2, a * a * w / 2];
}

// (∂L/∂a, ∂L/∂w); both are 0 on w = 0, since relu′(0) = 0.
const gradient = (a, w) => (w === 0 ? [0, 0] : sideGradient(w, a, w));

const loss = (a, w) => (w > 0 ? (a * w - 1) ** 2 : (a * w) ** 2 + 1) / 4;

// The factors (m, w) of θ with m·w = θ and m² − w² = β, m > 0, without cancellation.
function factorsOf(theta, beta) {
  const m = Math.sqrt(Math.hypot(theta, beta / 2) + beta / 2);
  return [m, theta / m];
}
