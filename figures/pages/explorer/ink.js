"use strict";
// Two inks with the same strokes: one draws on a canvas, the other writes SVG. A point is [x, y] in CSS pixels.

class CanvasInk {
  constructor(context) { this.context = context; }

  path(points, style) { this.paths([points], style); }

  // Many lines of one style are much faster drawn at once.
  paths(lines, { stroke, width = 1, dash = [], fill, alpha = 1 }) {
    const pen = this.context;
    pen.globalAlpha = alpha;
    pen.beginPath();
    for (const points of lines) points.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    if (fill) { pen.fillStyle = fill; pen.fill(); }
    if (stroke) {
      Object.assign(pen, { strokeStyle: stroke, lineWidth: width, lineJoin: "round", lineCap: dash.length ? "butt" : "round" });
      pen.setLineDash(dash);
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  dot(x, y, radius, { fill, stroke, width = 1, alpha = 1 }) {
    const pen = this.context;
    pen.globalAlpha = alpha;
    pen.setLineDash([]);
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    if (fill) { pen.fillStyle = fill; pen.fill(); }
    if (stroke) { Object.assign(pen, { strokeStyle: stroke, lineWidth: width }); pen.stroke(); }
    pen.globalAlpha = 1;
  }

  text(x, y, words, { fill, size = 12, align = "left", italic = false, halo }) {
    const pen = this.context;
    Object.assign(pen, { fillStyle: fill, textAlign: "left", textBaseline: "middle" });
    const parts = runs(words).map(run => {
      pen.font = font(run.low ? 0.75 * size : size, italic);
      return { ...run, font: pen.font, width: pen.measureText(run.text).width };
    });
    const whole = parts.reduce((sum, { width }) => sum + width, 0);
    let at = x - whole * { left: 0, center: 0.5, right: 1 }[align];
    for (const part of parts) {
      pen.font = part.font;
      const down = y + (part.low ? 0.25 * size : 0);
      if (halo) {
        Object.assign(pen, { strokeStyle: halo, lineWidth: 3, lineJoin: "round" });
        pen.setLineDash([]);
        pen.strokeText(part.text, at, down);
      }
      pen.fillText(part.text, at, down);
      at += part.width;
    }
  }

  // Draw inside a rectangle only.
  within([x, y, width, height], draw) {
    this.context.save();
    this.context.beginPath();
    this.context.rect(x, y, width, height);
    this.context.clip();
    draw();
    this.context.restore();
  }
}

class SvgInk {
  constructor() { this.parts = []; this.clips = 0; }

  path(points, style) { this.paths([points], style); }

  paths(lines, { stroke = "none", width = 1, dash = [], fill = "none", alpha = 1 }) {
    const d = lines.flatMap(points => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`)).join("");
    this.parts.push(`<path d="${d}" fill="${fill}" stroke="${stroke}" stroke-width="${width}" opacity="${alpha}"`
      + ` stroke-linejoin="round"${dash.length ? ` stroke-dasharray="${dash}"` : ""}/>`);
  }

  dot(x, y, radius, { fill = "none", stroke = "none", width = 1, alpha = 1 }) {
    this.parts.push(`<circle cx="${x.toFixed(2)}" cy="${y.toFixed(2)}" r="${radius}" fill="${fill}" stroke="${stroke}"`
      + ` stroke-width="${width}" opacity="${alpha}"/>`);
  }

  text(x, y, words, { fill, size = 12, align = "left", italic = false, halo }) {
    const anchor = { left: "start", center: "middle", right: "end" }[align];
    const outline = halo ? ` stroke="${halo}" stroke-width="3" paint-order="stroke"` : "";
    this.parts.push(`<text x="${x.toFixed(2)}" y="${y.toFixed(2)}" dy=".35em" font-size="${size}" text-anchor="${anchor}"`
      + ` fill="${fill}"${italic ? ' font-style="italic"' : ""}${outline}>${runs(words).map(({ text, low }, i, all) => {
      const lift = low ? 0.25 * size : all[i - 1]?.low ? -0.25 * size : 0;
      return low || lift ? `<tspan dy="${lift}"${low ? ` font-size="${0.75 * size}"` : ""}>${escaped(text)}</tspan>` : escaped(text);
    }).join("")}</text>`);
  }

  within([x, y, width, height], draw) {
    const name = `clip${++this.clips}`;
    this.parts.push(`<clipPath id="${name}"><rect x="${x}" y="${y}" width="${width}" height="${height}"/></clipPath>`
      + `<g clip-path="url(#${name})">`);
    draw();
    this.parts.push("</g>");
  }

  // What was drawn so far, moved to (x, y), as one group; the ink is empty again.
  group(x, y) {
    const inside = this.parts.join("");
    this.parts = [];
    return `<g transform="translate(${x} ${y})">${inside}</g>`;
  }
}

// "β_a > 1" as runs of text, where what follows an underscore is low.
const runs = words => words.split(/(?<=[^_\W]|[α-ω])(_\w)/u).filter(Boolean)
  .map(text => (/^_\w$/.test(text) ? { text: text[1], low: true } : { text, low: false }));
const inHtml = words => runs(words).map(({ text, low }) => (low ? `<sub>${text}</sub>` : escaped(text))).join("");
const font = (size, italic) => `${italic ? "italic " : ""}${size}px ${italic ? "Georgia, serif" : "system-ui, sans-serif"}`;
const escaped = words => words.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

// The colours of the page's theme, by name.
function theme() {
  const style = getComputedStyle(document.documentElement);
  const names = ["paper", "panel", "ink", "quiet", "line", "accent", "warm", "green", "rose", "yes", "no", "only"];
  return Object.fromEntries(names.map(name => [name, style.getPropertyValue(`--${name}`).trim()]));
}
