// Pictures: the scale of a verdict, operating points, the timeline of a meeting. All are SVG with words beside them.

const COLORS = ["#4c78d8", "#d1772a", "#3a9b62", "#b5508f", "#8a6d3b", "#7a63c9", "#2a9aa8", "#c0504d", "#8a9a2a", "#777f94"];

function svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function html(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function percent(value) {
  if (value == null) return "?";
  const digits = value > 0 && value < 0.001 ? 3 : value < 0.1 ? 1 : 0;
  return `${(100 * value).toFixed(value > 0.99 && value < 1 ? 2 : digits)} %`;
}

function clock(seconds) {
  const whole = Math.floor(seconds / 60);
  const rest = (seconds - 60 * whole).toFixed(1).padStart(4, "0");
  return `${whole}:${rest}`;
}

function colorOf(names) {
  const seen = new Map();
  return (name) => {
    if (!seen.has(name)) seen.set(name, COLORS[seen.size % COLORS.length]);
    return seen.get(name);
  };
}

function llrScale(llr, threshold) {
  const most = Math.max(8, Math.ceil(Math.abs(llr) + 1), Math.ceil(Math.abs(threshold) + 1));
  const x = (value) => 220 + 200 * Math.max(-1, Math.min(1, value / most));
  const label = `Log-likelihood ratio ${llr.toFixed(2)}, threshold ${threshold.toFixed(2)}`;
  const picture = svg("svg", { viewBox: "0 0 440 74", role: "img", "aria-label": label, width: 440 },
    svg("rect", { x: 20, y: 22, width: x(threshold) - 20, height: 16, class: "zone-different" }),
    svg("rect", { x: x(threshold), y: 22, width: 420 - x(threshold), height: 16, class: "zone-same" }),
    svg("line", { x1: 20, x2: 420, y1: 38, y2: 38, class: "axis" }));
  const text = (at, y, words, anchor, kind) => picture.append(svg("text", { x: at, y, "text-anchor": anchor, class: kind }, words));
  text(20, 14, "different", "start", "soft");
  text(420, 14, "same", "end", "soft");
  for (const value of [-most, 0, most]) text(x(value), 54, String(value), "middle", "soft");
  picture.append(
    svg("line", { x1: x(threshold), x2: x(threshold), y1: 18, y2: 42, class: "axis" }),
    svg("circle", { cx: x(llr), cy: 30, r: 7, class: "chosen" }));
  text(x(llr) < 70 ? 20 : x(llr) > 370 ? 420 : x(llr), 70, `LLR ${llr.toFixed(2)}`, x(llr) < 70 ? "start" : x(llr) > 370 ? "end" : "middle", "");
  return picture;
}

function probit(p) {
  // Acklam's approximation of the inverse normal distribution is more than a picture needs: this is good to 0.005.
  const q = Math.min(Math.max(p, 1e-6), 1 - 1e-6), side = q < 0.5 ? q : 1 - q;
  const t = Math.sqrt(-2 * Math.log(side));
  const z = t - (2.30753 + 0.27061 * t) / (1 + 0.99229 * t + 0.04481 * t * t);
  return q < 0.5 ? -z : z;
}

function operatingPoints(points, chosen) {
  // Misses against false alarms of the pack's thresholds, with their intervals: points of its DET curve.
  const ticks = [0.0001, 0.001, 0.01, 0.05, 0.2, 0.5];
  const low = probit(ticks[0] / 2), high = probit(0.6);
  const at = (rate) => (probit(Math.max(rate, ticks[0] / 2)) - low) / (high - low);
  const x = (rate) => 62 + 250 * Math.min(1, at(rate)), y = (rate) => 228 - 210 * Math.min(1, at(rate));
  const picture = svg("svg", { viewBox: "0 0 330 282", width: 330, role: "img",
    "aria-label": "Misses against false alarms at the thresholds of the pack, with 95 % intervals; the table has the numbers" });
  for (const tick of ticks) {
    const words = `${100 * tick}`;
    picture.append(
      svg("line", { x1: x(tick), x2: x(tick), y1: 18, y2: 228, class: "axis" }),
      svg("line", { x1: 62, x2: 312, y1: y(tick), y2: y(tick), class: "axis" }),
      svg("text", { x: x(tick), y: 245, "text-anchor": "middle", class: "soft" }, words),
      svg("text", { x: 56, y: y(tick) + 4, "text-anchor": "end", class: "soft" }, words));
  }
  picture.append(svg("text", { x: 187, y: 268, "text-anchor": "middle" }, "false alarms, %"),
    svg("text", { x: 14, y: 123, "text-anchor": "middle", transform: "rotate(-90 14 123)" }, "misses, %"));
  for (const point of points) {
    const { miss, false_alarm: far } = point;
    if (!miss || !far) continue;
    const bars = svg("g", { class: "bar" });
    if (miss.low != null) bars.append(svg("line", { x1: x(far.rate), x2: x(far.rate), y1: y(miss.low), y2: y(miss.high) }));
    if (far.low != null) bars.append(svg("line", { x1: x(far.low), x2: x(far.high), y1: y(miss.rate), y2: y(miss.rate) }));
    const mark = svg("circle", { cx: x(far.rate), cy: y(miss.rate), r: point === chosen ? 6 : 4, class: point === chosen ? "chosen" : "mark" });
    mark.append(svg("title", {}, `${point.kind.replaceAll("_", " ")} ${point.value}: misses ${percent(miss.rate)}, false alarms ${percent(far.rate)}`));
    picture.append(bars, mark);
  }
  return picture;
}

function timeline(turns, seconds) {
  const names = [...new Set(turns.map((turn) => turn.name))], color = colorOf();
  const height = 30 * names.length + 34, width = 900, left = 150;
  const x = (time) => left + (width - left - 12) * time / seconds;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, role: "img",
    "aria-label": `Timeline of ${names.length} speakers; the table below has the turns` });
  const step = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200].find((one) => seconds / one <= 10) || 3600;
  for (let time = 0; time <= seconds; time += step)
    picture.append(svg("line", { x1: x(time), x2: x(time), y1: 4, y2: height - 24, class: "axis" }),
      svg("text", { x: x(time), y: height - 8, "text-anchor": "middle", class: "soft" }, clock(time).replace(/\.0$/, "")));
  names.forEach((name, row) => {
    const short = name.length > 18 ? `${name.slice(0, 17)}…` : name;
    picture.append(svg("text", { x: left - 10, y: 30 * row + 24, "text-anchor": "end" }, short));
    for (const turn of turns.filter((one) => one.name === name))
      picture.append(svg("rect", { x: x(turn.start), y: 30 * row + 8, height: 22, rx: 3, fill: color(name),
        width: Math.max(1.5, x(turn.end) - x(turn.start)) },
        svg("title", {}, `${name}, ${clock(turn.start)} to ${clock(turn.end)}`)));
  });
  return picture;
}
