"use strict";
// The page: a state, the scenes that follow from it, and the hand that moves the start.

let state = readAddress(location.hash);
let scenes = [];
let waiting = false, writing = 0;
const byId = id => document.getElementById(id);

// What is drawn for each flow of the state.
function scenesOf({ first, second, a, w, lr, noise, decay, reset, time, extent, show }) {
  const flows = [first, second].filter(Boolean).map(({ name, settings }) => makeFlow(name, settings));
  return flows.map((flow, i) => {
    const path = follow(flow, a, w, { until: time, tolerance: 1e-9, decay, period: reset * lr });
    const count = Math.min(4000, Math.round(time / lr));
    const steps = show === "flow" ? [] : descend(flow, a, w, { lr, steps: count, noise, decay, reset, seed: 1 });
    const shownPath = show === "steps" ? { ...path, points: path.points.slice(0, 1), end: "moving" } : path;
    return { flow, other: flows[1 - i] ?? null, extent, time, start: [a, w], path: shownPath, steps, ended: path, decays: decay > 0 };
  });
}

function changed({ rebuild = false, preset = "" } = {}) {
  if (rebuild) { showControls(byId("controls"), state, changed); buildPanes(); }
  if (!preset) { byId("preset").value = ""; byId("sentence").textContent = "Your own setting: drag the start in the plane, or move it with the arrow keys."; }
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}

function buildPanes() {
  const panes = byId("panes"), kinds = [state.first, state.second].filter(Boolean);
  panes.className = kinds.length > 1 ? "two" : "";
  panes.replaceChildren(...kinds.map(({ name }) => {
    const plane = element("canvas", { className: "plane", tabIndex: 0, role: "img" });
    listen(plane);
    return element("div", { className: "pane" }, element("h2", { textContent: FLOWS[name].title }), plane,
      element("canvas", { className: "series", role: "img" }),
      element("p", { className: "told", ariaLive: "polite" }), element("p", { className: "command" }, element("code")));
  }));
}

function draw() {
  scenes = scenesOf(state);
  const colours = theme();
  [...byId("panes").children].forEach((pane, i) => {
    const scene = scenes[i], [plane, series] = pane.querySelectorAll("canvas");
    onCanvas(plane, (ink, width) => drawPlane(ink, width, scene, colours));
    onCanvas(series, (ink, width, height) => drawSeries(ink, width, height, scene, colours));
    const told = inWords(scene);
    pane.querySelector(".told").innerHTML = told.map(line => inHtml(line).replace(/\*(.+?)\*/g, "<b>$1</b>")).join("<br>");
    plane.setAttribute("aria-label", `Plane of starts, ${scene.flow.title}. ${told[0].replaceAll("*", "")} Arrow keys move the start.`);
    series.setAttribute("aria-label", `${scene.flow.title} in time: weights, loss${scene.flow.factors ? ", factors and β" : ""}.`);
    pane.querySelector("code").textContent = commandOf(i ? state.second : state.first);
  });
  clearTimeout(writing); // browsers refuse an address that changes with every frame
  writing = setTimeout(() => history.replaceState(null, "", writeAddress(state)), 200);
}

function onCanvas(canvas, paint) {
  const { clientWidth: width, clientHeight: height } = canvas, ratio = window.devicePixelRatio || 1;
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== across || canvas.height !== down) Object.assign(canvas, { width: across, height: down });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  paint(new CanvasInk(context), width, height);
}

// What the scene shows, in sentences; what stands between stars is bold.
function inWords({ flow, other, extent, start: [a, w], ended, steps, decays }) {
  const exact = { recovers: "*recovers the teacher*", stuck: "*is stuck*", saddle: "*runs into the saddle*" }[fate(flow, a, w)];
  const end = endOf(ended, flow), last = ended.points.find(isTaught) ?? ended.points.at(-1), at = number => number.toFixed(2).replace("-", "−");
  const until = { recovers: `, there at t = ${short(last.t)}`, stuck: `, at rest at t = ${short(last.t)}` }[end] ?? "";
  const lines = [`From (${at(a)}, ${at(w)}) the flow ${exact}${until}.`];
  if (decays && flow.decays) lines[0] = `${lines[0].slice(0, -1)} without decay; the basin drawn is that one.`;
  if (steps.length > 1) {
    const how = { recovers: "recover", stuck: "are stuck", diverges: "diverge", moving: "are still on their way" }[outcomeOf(steps)];
    lines.push(`After ${steps.length - 1} steps the steps *${how}*.`);
  }
  const { quadrant, only } = shares(flow, other, extent);
  lines.push(`It recovers ${(100 * quadrant).toFixed(1)} % of a < 0 < w${other ? `, and alone ${(100 * only).toFixed(1)} % of all starts` : ""}. It keeps ${flow.keeps}.`);
  return lines;
}

// The hand: pointer, touch and arrow keys move the start.
function listen(plane) {
  const move = event => {
    const { left, top, width } = plane.getBoundingClientRect();
    moveTo(...projection(width, state.extent).start(event.clientX - left, event.clientY - top));
  };
  plane.addEventListener("pointerdown", event => { plane.setPointerCapture(event.pointerId); plane.focus(); move(event); event.preventDefault(); });
  plane.addEventListener("pointermove", event => { if (event.buttons || event.pressure > 0) move(event); });
  plane.addEventListener("keydown", event => {
    const step = (event.shiftKey ? 0.002 : 0.02) * state.extent;
    const toward = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!toward) return;
    event.preventDefault();
    moveTo(state.a + toward[0] * step, state.w + toward[1] * step);
  });
}

function moveTo(a, w) {
  const inside = value => Math.min(state.extent, Math.max(-state.extent, Number(value.toFixed(3))));
  [state.a, state.w] = [inside(a), inside(w)];
  changed();
}

function showPreset(index) {
  const { sentence, address } = PRESETS[index];
  state = readAddress(address);
  byId("preset").value = String(index);
  byId("sentence").innerHTML = inHtml(sentence);
  changed({ rebuild: true, preset: sentence });
}

// All panes as one picture in the colours of the page.
function pictureSvg() {
  const colours = theme(), plane = 460, gap = 30, height = plane + 34;
  const width = scenes.length * (2 * plane + gap);
  const groups = scenes.map((scene, i) => {
    const ink = new SvgInk(), left = i * (2 * plane + gap);
    ink.clips = 10 * i;
    ink.text(MARGIN.left, 14, `${scene.flow.title} ${Object.values(scene.flow.settings).map(rounded).join(", ")}`, { fill: colours.ink, size: 15 });
    const title = ink.group(left, 0);
    drawPlane(ink, plane, scene, colours);
    const first = ink.group(left, 30);
    drawSeries(ink, plane, plane, scene, colours);
    return title + first + ink.group(left + plane + 10, 30);
  });
  return { width, height, text: `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`
    + ` font-family="system-ui, sans-serif"><rect width="100%" height="100%" fill="${colours.paper}"/>${groups.join("")}</svg>\n` };
}

function save(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function saveSvg(given) {
  save(new Blob([pictureSvg().text], { type: "image/svg+xml" }), `${given.first.name}.svg`);
}

function savePng(given) {
  const { width, height, text } = pictureSvg(), image = new Image();
  image.onload = () => {
    const canvas = element("canvas", { width: 2 * width, height: 2 * height });
    canvas.getContext("2d").drawImage(image, 0, 0, 2 * width, 2 * height);
    canvas.toBlob(blob => save(blob, `${given.first.name}.png`));
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
}

function begin() {
  const preset = byId("preset");
  preset.append(element("option", { value: "", textContent: "your own setting" }),
    ...PRESETS.map(({ title }, i) => element("option", { value: String(i), textContent: title })));
  preset.addEventListener("change", () => preset.value && showPreset(Number(preset.value)));
  const beside = step => showPreset(((preset.value === "" ? (step > 0 ? -1 : 0) : Number(preset.value)) + step + PRESETS.length) % PRESETS.length);
  byId("earlier").addEventListener("click", () => beside(-1));
  byId("later").addEventListener("click", () => beside(1));
  window.addEventListener("resize", () => changed({ preset: preset.value || "" }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  window.addEventListener("hashchange", () => { state = readAddress(location.hash); changed({ rebuild: true }); });
  const known = PRESETS.findIndex(({ address }) => writeAddress(readAddress(address)) === writeAddress(state));
  if (location.hash && known < 0) changed({ rebuild: true });
  else showPreset(Math.max(location.hash ? known : 2, 0));
}

begin();
