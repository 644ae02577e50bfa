// The map: fills the figure with points, and shows the photographs behind them. Everything comes
// from the page itself; labels and paths are only ever set as text.
"use strict";
(() => {
  const NONE = 0xffffffff, SHOWN = 120, NEIGHBOURS = 8, NAMED = 24;
  const at = (id) => document.getElementById(id);
  const TYPES = {
    int8: Int8Array, uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array,
    float32: Float32Array,
  };

  function bytesOf(id) {
    const text = atob(at(id).textContent.trim());
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    at(id).textContent = "";
    return bytes;
  }

  async function unpack(id) {
    const unzipped = new Blob([bytesOf(id)]).stream().pipeThrough(new DecompressionStream("gzip"));
    const buffer = await new Response(unzipped).arrayBuffer();
    const length = new DataView(buffer).getUint32(0, true);
    const about = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    for (const [name, one] of Object.entries(about.arrays)) {
      about[name] = new TYPES[one.type](buffer, 4 + length + one.at, one.length);
    }
    return about;
  }

  function make(tag, properties, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  const MARKS = ["circle", "square", "triangle", "diamond", "inverted_triangle", "plus"];

  // Of each point of the figure its image, and of each image its point.
  let order, rows;
  let data, pictures, header, doc, plot, source, focus = null;
  const state = { plane: 0, size: 6, colour: "label", listed: [], listedTitle: "", title: "" };
  const drawn = new Map();

  // ---- what is known of an image

  const path = (i) => data.folders[data.folder[i]] + data.files[i];
  const below = (i) => path(i).slice(data.root.length);
  const label = (i) => (data.label[i] === NONE ? "no label" : data.labels[data.label[i]]);
  const predicted = (i) => (data.predicted[i] === NONE ? "" : data.labels[data.predicted[i]]);
  const split = (i) => (data.split[i] === NONE ? "no split" : data.splits[data.split[i]]);
  const hasPicture = (i) => data.offsets[i + 1] > data.offsets[i];
  // Labels, if the classifier knows any of them; otherwise, photographs are named by predictions.
  const isLabelled = () => data.labelled || !data.classifier;
  const isWrong = (i) => data.label[i] !== NONE && data.predicted[i] !== NONE
    && data.label[i] !== data.predicted[i];
  const finding = (i) => (data.finding[i] === NONE ? "" : `under “${data.findings[data.finding[i]]}”`);
  // What is not certain is not called so: 0.9996 is 99.9%.
  const percent = (share) => (share > 0.995 && share < 1
    ? `${(Math.floor(1000 * share) / 10).toFixed(1)}%` : `${Math.round(100 * share)}%`);

  function picture(i) {
    if (!hasPicture(i)) return null;
    if (!drawn.has(i)) {
      const head = header.slice(), [width, height] = data.sizes.subarray(2 * i, 2 * i + 2);
      head[data.thumbnails.sizeAt + 1] = height;
      head[data.thumbnails.sizeAt + 3] = width;
      const body = pictures.subarray(data.offsets[i], data.offsets[i + 1]);
      if (drawn.size > 3000) {
        drawn.forEach((url) => URL.revokeObjectURL(url));
        drawn.clear();
      }
      drawn.set(i, URL.createObjectURL(new Blob([head, body], { type: "image/jpeg" })));
    }
    return drawn.get(i);
  }

  function prediction(i) {
    if (!data.classifier) return "";
    const wrong = data.predicted[i] === data.label[i] ? "" : `predicted as ${predicted(i)}, `;
    return `${wrong}${percent(data.confidence[i])} sure${data.unknown[i] ? ", unknown" : ""}`;
  }

  const names = (i) => (isLabelled() ? [label(i), prediction(i)] : [prediction(i)]);
  const named = (i) => names(i).map((text, n) =>
    make(n ? "span" : "strong", { textContent: text }));

  function card(i, more) {
    const url = picture(i);
    const alt = isLabelled() ? `Photograph labelled ${label(i)}` : `Photograph ${prediction(i)}`;
    const image = url
      ? make("img", { src: url, alt, loading: "lazy" })
      : make("span", { className: "no-picture", textContent: "no thumbnail" });
    const texts = named(i);
    if (more) texts.push(make("span", { textContent: more }));
    if (finding(i)) texts.push(make("span", { className: "found", textContent: finding(i) }));
    texts.push(make("code", { textContent: below(i), title: path(i) }));
    const button = make("button", { type: "button", className: "photo", title: path(i) }, image);
    button.setAttribute("aria-label", `${names(i).join(", ")}: show the nearest photographs`);
    button.addEventListener("click", () => {
      near(i);
      at("near-title").scrollIntoView({ block: "nearest" });
    });
    return make("figure", { className: isWrong(i) ? "card wrong" : "card" }, button,
      make("figcaption", {}, ...texts));
  }

  // ---- colours

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const night = matchMedia("(prefers-color-scheme: dark)");

  // Dark shades are hard to see on a dark page: they get lighter there.
  function seen(colour) {
    if (!night.matches || !colour.startsWith("#")) return colour;
    const parts = [1, 3, 5].map((n) => parseInt(colour.slice(n, n + 2), 16));
    const light = (0.3 * parts[0] + 0.6 * parts[1] + 0.1 * parts[2]) / 255;
    const weight = Math.max(0, 0.42 - light);
    return `#${parts.map((p) => Math.round(p + (255 - p) * weight).toString(16).padStart(2, "0")).join("")}`;
  }

  const CATEGORIES = ["#3f90da", "#e76300", "#5b4a9e", "#2a8a5a", "#bd1f01", "#94a4a2"];
  // Cividis, which reads the same to people who do not see red or green.
  const RAMP = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74",
    "#c3b369", "#e1cc55", "#fee838"];

  // Colours and marks of all images, a legend, and layers: those of a higher one are drawn later.
  // The end of a scale that people look for is on top, and differs most from the paper.
  function scale(values, low, high, text, wanted, last) {
    const steps = RAMP.length, span = high - low || 1, muted = style("--muted");
    const place = (v) => Math.max(0, Math.min(steps - 1, Math.floor(((v - low) / span) * steps)));
    const layer = (n) => (wanted === "high" ? n : steps - 1 - n);
    const shade = (n) => RAMP[night.matches ? layer(n) : steps - 1 - layer(n)];
    const end = (n) => text(low + (span * n) / steps);
    return {
      colours: Array.from(values, (v) => (Number.isNaN(v) ? muted : shade(place(v)))),
      marks: new Uint8Array(values.length),
      layers: Int32Array.from(values, (v) => (Number.isNaN(v) ? -1 : layer(place(v)))),
      legend: RAMP.map((_, n) => ({
        colour: shade(n), mark: 0,
        name: n === steps - 1 && last ? `${end(n)} ${last}` : `${end(n)} to ${end(n + 1)}`,
        has: (i) => !Number.isNaN(values[i]) && place(values[i]) === n,
      })),
    };
  }

  // Few images are drawn above many; those that are not in a category are below all.
  function largestFirst(codes, length) {
    const counts = new Uint32Array(length);
    for (const code of codes) if (code !== NONE) counts[code] += 1;
    return Int32Array.from(codes, (code) => (code === NONE ? -1 : data.count - counts[code]));
  }

  function categories(names, codes, none, pale = "--muted") {
    const muted = style(pale);
    const colour = (code) => (code === NONE ? muted : CATEGORIES[code % CATEGORIES.length]);
    const mark = (code) => (code === NONE ? 0 : code % MARKS.length);
    const legend = names.map((name, n) => ({
      name, colour: colour(n), mark: mark(n), has: (i) => codes[i] === n,
    }));
    if (codes.includes(NONE)) {
      legend.push({ name: none, colour: muted, mark: 0, has: (i) => codes[i] === NONE });
    }
    return {
      colours: Array.from(codes, colour), marks: Uint8Array.from(codes, mark),
      layers: largestFirst(codes, names.length), legend,
    };
  }

  function byLabel(codes) {
    const { labels, marks, groups } = data.colours, muted = style("--muted");
    const legend = data.labels.length <= NAMED ? data.labels.map((name, n) => ({
      name, colour: labels[n], mark: marks[n], has: (i) => codes[i] === n,
    })) : groups.map((group) => {
      const members = new Set(group.members);
      const count = members.size > 1 ? ` (${members.size.toLocaleString("en")} labels)` : "";
      return { name: group.name + count, colour: group.colour, mark: 0, has: (i) => members.has(codes[i]) };
    });
    if (codes.includes(NONE)) {
      legend.push({ name: "no label", colour: muted, mark: 0, has: (i) => codes[i] === NONE });
    }
    return {
      colours: Array.from(codes, (c) => (c === NONE ? muted : labels[c])),
      marks: Uint8Array.from(codes, (c) => (c === NONE ? 0 : marks[c])),
      layers: largestFirst(codes, labels.length), legend,
    };
  }

  function largest(values) {
    const sorted = Float32Array.from(values.filter((v) => !Number.isNaN(v))).sort();
    return sorted.length ? sorted[Math.floor(0.99 * (sorted.length - 1))] : 1;
  }

  const COLOURINGS = {
    label: () => byLabel(data.label),
    predicted: () => byLabel(data.predicted),
    split: () => categories(data.splits, data.split, "no split"),
    // Few of very many points are found by their size.
    finding: () => ({
      ...categories(data.findings, data.finding, "nothing found", "--line"),
      larger: (i) => data.finding[i] !== NONE,
    }),
    right: () => categories(["right", "wrong"], Uint32Array.from(data.label, (code, i) =>
      (code === NONE || data.predicted[i] === NONE ? NONE : Number(code !== data.predicted[i]))),
    "no label"),
    confidence: () => scale(data.confidence, 0, 1, percent, "low"),
    distance: () => scale(data.distance, 0, largest(data.distance), (v) => v.toFixed(1), "high",
      "and more"),
  };

  function colour() {
    const { colours, marks, layers, legend, larger } = COLOURINGS[state.colour](), known = new Map();
    const lifted = (one) => known.get(one) ?? known.set(one, seen(one)).get(one);
    order = Uint32Array.from(colours.keys()).sort((a, b) => layers[a] - layers[b] || a - b);
    order.forEach((i, row) => { rows[i] = row; });
    source.data = {
      ...placed(), colour: Array.from(order, (i) => lifted(colours[i])),
      mark: Array.from(order, (i) => MARKS[marks[i]]),
      size: Float32Array.from(order, (i) => state.size + (larger?.(i) ? 3 : 0)),
    };
    chooseAgain();
    const buttons = legend.filter((one) => one.name).map((one) => {
      const dot = make("span", { className: `dot ${MARKS[one.mark]}` });
      dot.style.background = lifted(one.colour);
      const button = make("button", { type: "button" }, dot, one.name);
      button.addEventListener("click", () => choose(every(one.has), one.name));
      return make("li", {}, button);
    });
    at("map-legend").replaceChildren(...buttons);
  }

  const every = (has) => {
    const found = [];
    for (let i = 0; i < data.count; i++) if (has(i)) found.push(i);
    return found;
  };

  // ---- the plane

  function range(axis, values) {
    let low = Infinity, high = -Infinity;
    for (const v of values) { if (v < low) low = v; if (v > high) high = v; }
    const margin = 0.04 * (high - low || 1);
    axis.setv({ start: low - margin, end: high + margin, reset_start: low - margin, reset_end: high + margin });
  }

  function placed() {
    const flat = data[`plane${state.plane}`], x = new Float32Array(data.count), y = new Float32Array(data.count);
    order.forEach((i, row) => { x[row] = flat[2 * i]; y[row] = flat[2 * i + 1]; });
    return { x, y };
  }

  function place() {
    const { x, y } = placed();
    range(plot.x_range, x);
    range(plot.y_range, y);
    const [below, left] = data.planes[state.plane].titles;
    plot.below[0].axis_label = below;
    plot.left[0].axis_label = left;
  }

  function theme() {
    const ink = style("--ink"), line = style("--line"), paper = style("--paper");
    plot.setv({ background_fill_color: paper, border_fill_color: paper, outline_line_color: line });
    for (const axis of [...plot.below, ...plot.left]) {
      axis.setv({
        axis_label_text_color: ink, major_label_text_color: ink, axis_line_color: line,
        major_tick_line_color: line, minor_tick_line_color: null, axis_label_text_font_style: "normal",
      });
    }
    for (const grid of plot.center) grid.setv({ grid_line_color: line, grid_line_alpha: 0.5 });
  }

  // ---- the selection

  function choose(found, title) {
    state.title = title;
    if (found.length === source.selected.indices.length && !found.length) list(found);
    source.selected.indices = found.map((i) => rows[i]);
  }

  // The points of the selected images have other numbers after they are drawn in another order.
  function chooseAgain() {
    const now = state.listed.map((i) => rows[i]), before = source.selected.indices;
    if (now.every((row, n) => row === before[n])) return;
    state.title = state.listedTitle;
    source.selected.indices = now;
  }

  const chosen = (indices) => list(indices.map((row) => order[row]));

  function list(found) {
    state.listed = found;
    state.listedTitle = state.title;
    const number = (value) => value.toLocaleString("en"), notes = [];
    if (found.length > SHOWN) notes.push(`${SHOWN} of ${number(found.length)} are shown`);
    if (data.classifier && data.labelled) {
      const wrong = number(found.filter(isWrong).length);
      notes.push(`${wrong} with a label that the classifier does not agree with`);
    }
    at("chosen-title").textContent = found.length
      ? `${state.title ? `${state.title}: ` : ""}${number(found.length)} selected` : state.title ? `${state.title}: none found` : "Nothing is selected";
    at("chosen-note").textContent = found.length ? notes.join("; ") : at("chosen-note").dataset.help;
    at("copy").disabled = at("clear").disabled = !found.length;
    // Photographs that can be shown first, and of these the wrong ones.
    const ranks = [[], [], [], []];
    for (const i of Uint32Array.from(found).sort()) ranks[2 * !hasPicture(i) + !isWrong(i)].push(i);
    at("chosen").replaceChildren(...ranks.flat().slice(0, SHOWN).map((i) => card(i)));
    state.title = "";
  }

  async function copy() {
    const text = state.listed.map(path).join("\n") + "\n";
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Browsers lend the clipboard to pages of files only in the old way.
      const area = make("textarea", { value: text });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    at("copied").textContent = `${state.listed.length.toLocaleString("en")} paths copied`;
  }

  function near(i) {
    const width = data.scales.length, own = data.vectors.subarray(i * width, (i + 1) * width);
    const squares = data.scales.map((one) => one * one);
    const distances = new Float64Array(data.count);
    for (let j = 0; j < data.count; j++) {
      let sum = 0;
      for (let k = 0; k < width; k++) {
        const difference = own[k] - data.vectors[j * width + k];
        sum += difference * difference * squares[k];
      }
      distances[j] = Math.sqrt(sum);
    }
    distances[i] = Infinity;
    const best = [];
    for (const j of distances.keys()) {
      if (best.length < NEIGHBOURS || distances[j] < distances[best[best.length - 1]]) {
        best.push(j);
        best.sort((a, b) => distances[a] - distances[b]);
        best.length = Math.min(best.length, NEIGHBOURS);
      }
    }
    at("near-title").textContent = `Nearest to ${data.files[i]} (${names(i)[0]})`;
    at("near-path").textContent = path(i);
    at("near").replaceChildren(card(i, "this photograph"),
      ...best.filter((j) => Number.isFinite(distances[j]))
        .map((j) => card(j, `distance ${distances[j].toPrecision(3)}`)));
    at("near-box").hidden = false;
  }

  function tapped(x, y) {
    const found = source.selected.indices;
    if (!found.length || found.length > 200) return;
    const xs = source.data.x, ys = source.data.y;
    const w = plot.x_range.end - plot.x_range.start, h = plot.y_range.end - plot.y_range.start;
    const gap = (i) => ((xs[i] - x) / w) ** 2 + ((ys[i] - y) / h) ** 2;
    near(order[found.reduce((a, b) => (gap(b) < gap(a) ? b : a))]);
  }

  // ---- the photograph under the mouse

  function hover(event) {
    const found = event.index.indices.map((row) => order[row]), tip = at("tip");
    if (!found.length) { tip.hidden = true; focus = null; return; }
    const i = found.find(hasPicture) ?? found[0];
    if (focus !== i) {
      focus = i;
      const url = picture(i);
      tip.replaceChildren(
        ...(url ? [make("img", { src: url, alt: "" })] : []),
        ...named(i),
        ...(finding(i) ? [make("span", { className: "found", textContent: finding(i) })] : []),
        make("span", { textContent: `${split(i)}, ${below(i)}` }),
        ...(found.length > 1 ? [make("span", { textContent: `and ${found.length - 1} more here` })] : []));
    }
    tip.hidden = false;
    const box = at("map-figure").getBoundingClientRect(), { sx, sy } = event.geometry;
    tip.style.left = `${Math.max(0, sx + 16 + tip.offsetWidth > box.width ? sx - tip.offsetWidth - 16 : sx + 16)}px`;
    tip.style.top = `${Math.max(0, sy - tip.offsetHeight / 2)}px`;
  }

  window.fruitsMap = { hover, tapped, chosen, near };

  // ---- the start

  // WebGL that a processor imitates is much slower than a plain canvas.
  function hasGraphics() {
    const gl = document.createElement("canvas").getContext("webgl");
    if (!gl) return false;
    const more = gl.getExtension("WEBGL_debug_renderer_info");
    const name = gl.getParameter(more ? more.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
    gl.getExtension("WEBGL_lose_context")?.loseContext();
    return !/swiftshader|llvmpipe|software|basic render/i.test(name);
  }

  function search(event) {
    event.preventDefault();
    const wanted = at("search").value.trim().toLowerCase();
    if (!wanted) return choose([], "");
    const labels = data.labels.map((one) => one.toLowerCase().includes(wanted));
    const codes = isLabelled() ? data.label : data.predicted;
    choose(every((i) => labels[codes[i]] || path(i).toLowerCase().includes(wanted)), `“${wanted}”`);
  }

  function controls() {
    at("plane").replaceChildren(...data.planes.map((one, n) =>
      make("option", { value: n, textContent: one.name })));
    at("plane").value = state.plane;
    at("plane").addEventListener("change", () => { state.plane = Number(at("plane").value); place(); colour(); });
    at("colour").addEventListener("change", () => { state.colour = at("colour").value; colour(); });
    if (!data.classifier) {
      for (const option of [...at("colour").options]) if (option.dataset.needs) option.remove();
    }
    if (!isLabelled()) {
      for (const name of ["label", "right"]) at("colour").querySelector(`[value=${name}]`).remove();
      state.colour = at("colour").value = "predicted";
    }
    if (!data.findings.length) at("colour").querySelector("[value=finding]").remove();
    at("copy").addEventListener("click", copy);
    at("clear").addEventListener("click", () => choose([], ""));
    at("find").addEventListener("submit", search);
    at("map-figure").addEventListener("mouseleave", () => { at("tip").hidden = true; });
  }

  async function start() {
    data = await unpack("map-data");
    pictures = bytesOf("map-thumbnails");
    header = Uint8Array.from(atob(data.thumbnails.header), (c) => c.charCodeAt(0));
    const item = JSON.parse(at("map-item").textContent);
    if (!hasGraphics()) item.doc.roots[0].attributes.output_backend = "canvas";
    await Bokeh.embed.embed_item(item);
    doc = Bokeh.documents[0];
    plot = doc.get_model_by_name("map");
    source = doc.get_model_by_name("images");
    if (matchMedia("(max-width: 700px)").matches) plot.height = 420;
    // On a touch screen, a finger moves the page until a tool is selected.
    if (matchMedia("(pointer: coarse)").matches) {
      plot.toolbar.active_drag = null;
      at("chosen-note").dataset.help += " By touch: first select the lasso or the box above the map.";
    }
    state.size = Math.max(3, Math.min(8, 360 / Math.sqrt(data.count)));
    order = Uint32Array.from({ length: data.count }, (_, i) => i);
    rows = order.slice();
    state.plane = data.start;
    controls();
    theme();
    place();
    colour();
    night.addEventListener("change", () => { theme(); colour(); });
    list([]);
    document.documentElement.dataset.map = "ready";
  }

  start().catch((error) => {
    document.documentElement.dataset.map = "failed";
    at("map-error").hidden = false;
    at("map-error").textContent = `The map cannot be drawn by this browser (${error.message}).`;
  });
})();
