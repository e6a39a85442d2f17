"use strict";
// The second tab: the signs of one run. Curves of flips by layer, and a map of a layer's weights coloured by flips.

const INACTIVE = 65535, NEVER = 0; // codes of `last`; any other is the epoch of the last flip plus 1
const NAMED = 8; // layers, above which only the chosen one is named beside its curve; the lower curves meet at 0 and never have room
let run = null; // what figures/run_signs.py embedded
const view = { layer: 0, zoom: 1, left: 0, top: 0, row: 0, column: 0, epoch: 0, image: null };

// Numbers that Python compressed by zlib and wrote in base64, as little-endian unsigned integers of 1 or 2 bytes.
async function unpacked(text, Kind) {
  const packed = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Kind(await new Response(stream).arrayBuffer());
}

async function beginSigns() {
  const data = byId("data");
  if (!data) return;
  run = JSON.parse(data.textContent);
  for (const layer of run.layers) {
    layer.flips = await unpacked(layer.flips, Uint8Array);
    layer.last = await unpacked(layer.last, Uint16Array);
  }
  byId("tabs").hidden = false;
  byId("run-name").textContent = run.name;
  const select = byId("layer");
  select.append(...run.layers.map(({ name }, i) => element("option", { value: String(i), textContent: name })));
  select.addEventListener("change", () => showLayer(Number(select.value)));
  for (const name of ["neuron", "signs"]) byId(`tab-${name}`).addEventListener("click", () => showTab(name));
  view.epoch = run.epochs.length - 1;
  listenToMap(byId("map"));
  listenToCurves(byId("curves"));
  window.addEventListener("resize", () => byId("signs").hidden || drawSigns());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => showLayer(view.layer));
  showTab("signs");
  showLayer(0);
}

function showTab(name) {
  for (const each of ["neuron", "signs"]) {
    byId(each).hidden = each !== name;
    byId(`tab-${each}`).setAttribute("aria-pressed", String(each === name));
  }
  if (name === "neuron") changed({ preset: byId("preset").value || "" });
  else if (view.image) drawSigns();
}

function showLayer(index) {
  Object.assign(view, { layer: index, zoom: 1, left: 0, top: 0, row: 0, column: 0, image: pictureOf(run.layers[index]) });
  byId("layer").value = String(index);
  drawSigns();
}

// One pixel a weight: bare where it is inactive at the end, and from pale to dark with the number of its flips.
function pictureOf({ rows, columns, flips, last }) {
  const colours = theme(), most = Math.max(1, ...new Set(flips));
  const [none, few, many] = [colours.yes, colours.accent, colours.ink].map(rgb);
  const mixed = share => (share < 0.5 ? mix(none, few, 2 * share) : mix(few, many, 2 * share - 1));
  const palette = Array.from({ length: most + 1 }, (_, count) => mixed(Math.log1p(count) / Math.log1p(most)));
  byId("flips-key").style.background = `linear-gradient(to right, ${palette.map(colour => `rgb(${colour})`).join()})`;
  byId("flips-most").textContent = most === 1 ? "1 flip" : `${most === 255 ? "255 or more" : most} flips`;
  const picture = new OffscreenCanvas(columns, rows), context = picture.getContext("2d");
  const image = context.createImageData(columns, rows);
  flips.forEach((count, i) => {
    if (last[i] !== INACTIVE) image.data.set([...palette[count], 255], 4 * i);
  });
  context.putImageData(image, 0, 0);
  return picture;
}

const rgb = hex => [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16));
const mix = (first, second, share) => first.map((value, i) => Math.round(value + share * (second[i] - value)));

// Everything: the curves and the map, and over them the cursors, which alone are drawn again as the pointer moves.
function drawSigns() {
  const colours = theme();
  onCanvas(byId("curves"), (ink, width, height) => drawCurves(ink, width, height, colours));
  onCanvas(byId("map"), (ink, width, height) => drawMap(ink, width, height, colours));
  drawCursors();
}

function drawCursors() {
  const colours = theme();
  onCanvas(byId("curves-cursor"), (ink, width, height) => drawEpoch(ink, width, height, colours));
  onCanvas(byId("map-cursor"), (ink, width, height) => drawWeight(ink, width, height, colours));
  tellWeight();
}

// Where panel i of the curves is in a canvas of this size.
const curveBox = (i, width, height) => [40, 14 + i * (height / 2 - 1), width - 118, height / 2 - 39];

// A layer's name as it fits beside a curve.
const labelOf = ({ name }) => name.replace(/\.weight$/, "").replace(/^.{3,}(?=.{12}$)/, "…");

// Flips since the start of training and since the epoch before, in percent; the chosen layer stands out.
function drawCurves(ink, width, height, colours) {
  const kinds = { since_init: "flipped since the start (%)", since_previous: "flipped since the last epoch (%)" };
  Object.entries(kinds).forEach(([kind, title], i) => {
    const curves = run.layers.map((layer, k) => ({
      label: k === view.layer || (i === 0 && run.layers.length <= NAMED) ? labelOf(layer) : "",
      colour: k === view.layer ? colours.warm : colours.quiet,
      width: k === view.layer ? 2.4 : 0.9,
      dash: [], dots: [],
      line: run.epochs.map((epoch, e) => [epoch, layer[kind][e] === null ? NaN : 100 * layer[kind][e]]).filter(([, y]) => y === y),
    }));
    drawPanel(ink, curveBox(i, width, height), { title, curves, floor: 0, unit: "epoch" }, run.epochs.at(-1) || 1, colours, i === 1);
  });
}

// The chosen epoch, in both panels of the curves.
function drawEpoch(ink, width, height, colours) {
  for (const i of [0, 1]) {
    const [left, top, across, down] = curveBox(i, width, height);
    const at = left + run.epochs[view.epoch] / (run.epochs.at(-1) || 1) * across;
    ink.path([[at, top], [at, top + down]], { stroke: colours.quiet, width: 1.5 });
  }
}

// How many CSS pixels a weight takes at the present zoom; at zoom 1 the whole layer fits.
function cellSize(width, height) {
  const { rows, columns } = run.layers[view.layer];
  return view.zoom * Math.min(width / columns, height / rows);
}

function drawMap(ink, width, height, colours) {
  const { rows, columns } = run.layers[view.layer], size = cellSize(width, height);
  view.left = Math.min(Math.max(0, columns * size - width), Math.max(0, view.left));
  view.top = Math.min(Math.max(0, rows * size - height), Math.max(0, view.top));
  const pen = ink.context;
  pen.fillStyle = colours.panel;
  pen.fillRect(0, 0, width, height);
  pen.imageSmoothingEnabled = size < 1;
  pen.drawImage(view.image, -view.left, -view.top, columns * size, rows * size);
}

// A frame around the weight under the cursor.
function drawWeight(ink, width, height, colours) {
  const size = cellSize(width, height);
  const [x, y] = [view.column * size - view.left, view.row * size - view.top];
  ink.path([[x, y], [x + size, y], [x + size, y + size], [x, y + size], [x, y]], { stroke: colours.warm, width: 2.5 });
}

// The weight under the cursor, in words; a layer that was too large is shown by every n-th row and column.
function tellWeight() {
  const { name, columns, every, flips, last, shape } = run.layers[view.layer], i = view.row * columns + view.column;
  const place = `${name}, row ${view.row * every} of ${shape[0]}, column ${view.column * every} of ${shape[1]}`;
  const times = flips[i] === 255 ? "255 times or more" : flips[i] === 1 ? "once" : `${flips[i]} times`;
  const fate = last[i] === INACTIVE ? "inactive at the end" : last[i] === NEVER ? "never flipped since it became active"
    : `flipped ${times}, last in epoch ${last[i] - 1}`;
  const percent = share => (share === null ? "nothing compared" : `${(100 * share).toFixed(1)} %`);
  const { since_init: start, since_previous: previous } = run.layers[view.layer];
  byId("epoch").textContent = `Epoch ${run.epochs[view.epoch]}, ${name}: ${percent(start[view.epoch])} flipped since the start, ${percent(previous[view.epoch])} since the epoch before.`;
  byId("weight").textContent = `${place}: ${fate}.${every > 1 ? ` Every ${every}th row and column is shown.` : ""}`;
}

function zoomAt(factor, x, y) {
  const zoom = Math.min(400, Math.max(1, view.zoom * factor)), real = zoom / view.zoom;
  Object.assign(view, { zoom, left: (view.left + x) * real - x, top: (view.top + y) * real - y });
  drawSigns();
}

function point(x, y, map) {
  const { rows, columns } = run.layers[view.layer], size = cellSize(map.clientWidth, map.clientHeight);
  view.column = Math.min(columns - 1, Math.max(0, Math.floor((x + view.left) / size)));
  view.row = Math.min(rows - 1, Math.max(0, Math.floor((y + view.top) / size)));
}

function listenToCurves(curves) {
  const choose = epoch => { view.epoch = Math.min(run.epochs.length - 1, Math.max(0, epoch)); drawCursors(); };
  curves.addEventListener("pointermove", event => {
    const [left, , across] = curveBox(0, curves.clientWidth, curves.clientHeight), wanted = (event.offsetX - left) / across * run.epochs.at(-1);
    const gaps = run.epochs.map(epoch => Math.abs(epoch - wanted));
    choose(gaps.indexOf(Math.min(...gaps)));
  });
  curves.addEventListener("keydown", ({ key }) => {
    if (key === "ArrowLeft" || key === "ArrowRight") choose(view.epoch + (key === "ArrowLeft" ? -1 : 1));
  });
}

// Wheel and pinch zoom, a drag moves the map, and arrow keys move the cursor; + and − zoom as well.
function listenToMap(map) {
  const held = new Map();
  const at = event => [event.offsetX, event.offsetY];
  const spread = () => { const [[a, b], [c, d]] = [...held.values()]; return Math.hypot(a - c, b - d); };
  map.addEventListener("wheel", event => { event.preventDefault(); zoomAt(Math.exp(-event.deltaY / 300), ...at(event)); }, { passive: false });
  map.addEventListener("pointerdown", event => { held.set(event.pointerId, at(event)); map.setPointerCapture(event.pointerId); });
  for (const end of ["pointerup", "pointercancel"]) map.addEventListener(end, event => held.delete(event.pointerId));
  map.addEventListener("pointermove", event => {
    const before = held.get(event.pointerId), now = at(event), apart = held.size === 2 ? spread() : 0;
    point(...now, map);
    if (before) held.set(event.pointerId, now);
    if (apart) return zoomAt(spread() / apart, ...now);
    if (!before) return drawCursors();
    view.left += before[0] - now[0];
    view.top += before[1] - now[1];
    drawSigns();
  });
  map.addEventListener("keydown", event => {
    const toward = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const size = cellSize(map.clientWidth, map.clientHeight);
    if (event.key === "+" || event.key === "-") return zoomAt(event.key === "+" ? 1.5 : 1 / 1.5, view.column * size - view.left, view.row * size - view.top);
    if (!toward) return;
    event.preventDefault();
    const { rows, columns } = run.layers[view.layer];
    view.row = Math.min(rows - 1, Math.max(0, view.row + toward[0]));
    view.column = Math.min(columns - 1, Math.max(0, view.column + toward[1]));
    drawCursors();
  });
}

beginSigns();
