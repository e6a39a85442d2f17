"use strict";
// The state of the page, in the words of the command line, as the part of the address after #.

const STEP_SLIDERS = {
  lr: slider("learning rate η", 0.005, 4, 0.1),
  noise: slider("label noise (batches of 8)", 0, 2, 0, false),
  decay: slider("weight decay λ", 0, 0.5, 0, false),
  reset: slider("reset after steps (0: never)", 0, 100, 0, false),
};
const VIEW_SLIDERS = {
  time: slider("flow time shown", 1, 200, 14),
  extent: slider("plane from −x to x", 0.5, 4, 2, false),
};
const SHOWN = { both: "flow and steps", flow: "flow alone", steps: "steps alone" };

// "sign-in,beta_a=1,beta_w=0.25" as { name, settings }; what is unknown or out of range is left at its default.
function readFlow(text) {
  const [name, ...parts] = (text ?? "").split(",");
  if (!Object.hasOwn(FLOWS, name)) return null;
  const given = Object.fromEntries(parts.map(part => part.split("=")));
  const settings = Object.entries(FLOWS[name].sliders).map(([key, range]) => [key, inRange(given[key], range)]);
  return { name, settings: Object.fromEntries(settings) };
}

const writeFlow = ({ name, settings }) =>
  [name, ...Object.entries(settings).map(([key, value]) => `${key}=${rounded(value)}`)].join(",");

const rounded = value => Number(value.toPrecision(4));

function inRange(text, { low, high, value }) {
  const number = text === undefined || text === null || text === "" ? NaN : Number(text);
  return Number.isFinite(number) ? Math.min(high, Math.max(low, number)) : value;
}

function readAddress(address) {
  const given = new URLSearchParams(address.replace(/^#/, ""));
  const number = (key, range) => inRange(given.get(key), range);
  const sliders = Object.entries({ ...STEP_SLIDERS, ...VIEW_SLIDERS }).map(([key, range]) => [key, number(key, range)]);
  return {
    first: readFlow(given.get("first")) ?? readFlow("sign-in"),
    second: readFlow(given.get("second")),
    a: number("a", { low: -4, high: 4, value: -1.2 }),
    w: number("w", { low: -4, high: 4, value: 1.2 }),
    show: Object.hasOwn(SHOWN, given.get("show")) ? given.get("show") : "both",
    ...Object.fromEntries(sliders),
  };
}

function writeAddress(state) {
  const given = new URLSearchParams();
  given.set("first", writeFlow(state.first));
  if (state.second) given.set("second", writeFlow(state.second));
  for (const key of ["a", "w", ...Object.keys(STEP_SLIDERS), ...Object.keys(VIEW_SLIDERS)]) given.set(key, rounded(state[key]));
  given.set("show", state.show);
  return `#${given.toString().replace(/%2C/g, ",").replace(/%3D/g, "=")}`;
}

// The command that integrates the same diagram.
function commandOf({ name, settings }) {
  const options = Object.entries(settings).map(([key, value]) => ` --${key.replace("_", "-")} ${rounded(value)}`);
  return `python -m dynamics phase --flow ${name}${options.join("")}`;
}
