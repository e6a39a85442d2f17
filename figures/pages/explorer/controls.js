"use strict";
// Selects and sliders. Each writes the state and calls `changed`; `showControls` builds them anew for a state.

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in node && key !== "list") node[key] = value; else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

function choice(label, options, value, choose) {
  const select = element("select", { ariaLabel: label });
  select.append(...Object.entries(options).map(([key, text]) => element("option", { value: key, textContent: text, selected: key === value })));
  select.addEventListener("change", () => choose(select.value));
  return select;
}

// A slider beside a number; a logarithmic one moves in equal ratios.
function sliderRow(key, { label, low, high, log }, value, choose) {
  const toPlace = number => (log ? Math.log(number / low) / Math.log(high / low) : (number - low) / (high - low));
  const toNumber = place => (log ? low * (high / low) ** place : low + place * (high - low));
  const whole = key === "reset", shown = number => (whole ? Math.round(number) : rounded(number));
  const range = element("input", { type: "range", min: 0, max: 1, step: 0.001, value: toPlace(value), id: `slide-${key}` });
  const number = element("input", { type: "number", min: low, max: high, step: "any", value: shown(value), ariaLabel: `${label}, as a number` });
  range.addEventListener("input", () => {
    number.value = Number(toNumber(Number(range.value)).toPrecision(3));
    if (whole) number.value = Math.round(number.value);
    choose(Number(number.value));
  });
  number.addEventListener("change", () => {
    const entered = shown(inRange(number.value, { low, high, value }));
    [number.value, range.value] = [entered, toPlace(entered)];
    choose(entered);
  });
  return element("div", { className: "slider" }, element("label", { htmlFor: range.id, innerHTML: inHtml(label) }), range, number);
}

function group(title, ...rows) {
  return element("fieldset", {}, element("legend", { textContent: title }), ...rows);
}

function flowGroup(state, which, changed) {
  const titles = Object.fromEntries(Object.entries(FLOWS).map(([name, { title }]) => [name, title]));
  const options = which === "second" ? { "": "no second flow", ...titles } : titles;
  const chosen = state[which];
  const select = choice(which === "first" ? "Flow" : "Second flow", options, chosen?.name ?? "", name => {
    state[which] = readFlow(name);
    changed({ rebuild: true });
  });
  const rows = Object.entries(FLOWS[chosen?.name]?.sliders ?? {}).map(([key, range]) =>
    sliderRow(which === "first" ? key : `second-${key}`, range, chosen.settings[key], value => {
      chosen.settings[key] = value;
      changed();
    }));
  return group(which === "first" ? "Flow" : "Beside it", select, ...rows);
}

function showControls(form, state, changed) {
  const rows = sliders => Object.entries(sliders).map(([key, range]) =>
    sliderRow(key, range, state[key], value => { state[key] = value; changed(); }));
  const shown = choice("What is drawn", SHOWN, state.show, value => { state.show = value; changed(); });
  const files = element("div", { className: "files" },
    ...[["SVG", saveSvg], ["PNG", savePng]].map(([text, save]) => {
      const button = element("button", { type: "button", textContent: `Save ${text}` });
      button.addEventListener("click", () => save(state));
      return button;
    }),
    element("p", { className: "hint", textContent: "The address of this page holds all settings: a copy of it shows the same picture." }));
  form.replaceChildren(
    flowGroup(state, "first", changed), flowGroup(state, "second", changed),
    group("Steps", shown, ...rows(STEP_SLIDERS)), group("View", ...rows(VIEW_SLIDERS)), files);
}
