// The book's explorers: one custom element, <hebm-explorer kind="levels|langevin" src="….safetensors">.
//
// Plain JavaScript on typed arrays, no framework and no other site: the networks are small, a digit takes a few
// milliseconds. The model file says in its header what to compute (hebm_lib/reproduction/explorers.py). The element keeps its
// light children, a still picture, in sight until the model is there; it starts to load when it comes near the window.
// A plain script, no module, so that it runs in a book that is opened from a disk, too; jupyter-book puts it into every head.
(() => {
"use strict";
const HERE = globalThis.document?.currentScript?.src;

// ---- numbers -------------------------------------------------------------------------------------------------------

function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return exponent === 31 ? (fraction ? NaN : sign * Infinity) : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Read a model file: {tensors: {name: {data, shape}}, …header}. */
function readModel(buffer) {
  const view = new DataView(buffer);
  const length = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const tensors = {};
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const { dtype, shape, data_offsets: [from, to] } = entry;
    const bytes = buffer.slice(8 + length + from, 8 + length + to);
    if (dtype === "F16") tensors[name] = { shape, data: Float32Array.from(new Uint16Array(bytes), fromHalf) };
    else if (dtype === "F32") tensors[name] = { shape, data: new Float32Array(bytes) };
    else throw new Error(`a tensor of type ${dtype} cannot be read here`);
  }
  const model = { ...JSON.parse(header.__metadata__.explorer), tensors };
  model.starts = model.levels.map((_, i) => model.levels.slice(0, i).reduce((a, b) => a + b, 0));
  model.units = model.levels.reduce((a, b) => a + b, 0);
  return model;
}

function linear(x, { data: w, shape: [rows, columns] }, bias) {
  const y = new Float32Array(rows);
  for (let i = 0, k = 0; i < rows; i++) {
    let sum = bias ? bias.data[i] : 0;
    for (let j = 0; j < columns; j++) sum += w[k++] * x[j];
    y[i] = sum;
  }
  return y;
}

function conv(x, side, { data: w, shape: [c_out, c_in] }) {
  const y = new Float32Array(c_out * side * side);
  for (let o = 0; o < c_out; o++) for (let c = 0; c < c_in; c++) for (let dy = -1; dy <= 1; dy++) for (let dx = -1; dx <= 1; dx++) {
    const weight = w[((o * c_in + c) * 3 + dy + 1) * 3 + dx + 1];
    const top = Math.max(0, -dy), bottom = Math.min(side, side - dy), left = Math.max(0, -dx), right = Math.min(side, side - dx);
    for (let r = top; r < bottom; r++) {
      const to = (o * side + r) * side, from = (c * side + r + dy) * side + dx;
      for (let s = left; s < right; s++) y[to + s] += weight * x[from + s];
    }
  }
  return y;
}

function up(x, side, { data: w, shape: [c_in, c_out] }) {
  const large = 2 * side, y = new Float32Array(c_out * large * large);
  for (let c = 0; c < c_in; c++) for (let o = 0; o < c_out; o++) for (let a = 0; a < 4; a++) for (let b = 0; b < 4; b++) {
    const weight = w[((c * c_out + o) * 4 + a) * 4 + b];
    for (let r = 0; r < side; r++) {
      const row = 2 * r + a - 1;
      if (row < 0 || row >= large) continue;
      const to = (o * large + row) * large + b - 1, from = (c * side + r) * side;
      const first = b === 0 ? 1 : 0, last = b === 3 ? side - 1 : side;
      for (let s = first; s < last; s++) y[to + 2 * s] += weight * x[from + s];
    }
  }
  return y;
}

/** The mean image g_β(z) in [-1, 1], row by row. */
function decode(model, z) {
  const part = (level) => z.slice(model.starts[level - 1], model.starts[level - 1] + model.levels[level - 1]);
  let h = null, channels = 0, side = 0;
  for (const step of model.steps) {
    const weight = model.tensors[step.weight], bias = model.tensors[`${step.weight}.bias`];
    if (step.do === "top") h = part(step.level);
    else if (step.do === "linear") h = linear(h, weight, bias);
    else if (step.do === "leaky") h = h.map((v) => (v < 0 ? step.slope * v : v));
    else if (step.do === "tanh") h = h.map(Math.tanh);
    else if (step.do === "shape") [channels, side] = step.shape;
    else if (step.do === "conv") { h = conv(h, side, weight); channels = weight.shape[0]; }
    else if (step.do === "up") { h = up(h, side, weight); side *= 2; channels = weight.shape[1]; }
    else if (step.do === "add" || step.do === "gain") {
      // One number per place, or one per channel.
      const code = linear(part(step.level), weight, bias), places = h.length / code.length;
      h = step.do === "add"
        ? h.map((v, i) => v + code[Math.floor(i / places)])
        : h.map((v, i) => v * (1 + step.range * Math.tanh(code[Math.floor(i / places)])));
    } else throw new Error(`there is no step ${step.do}`);
  }
  return h;
}

/** f_α(z), the negative energy, and its gradient. */
function energy(model, z) {
  const { layers, slope, activation } = model.energy, inputs = [], slopes = [];
  let h = z;
  for (let i = 0; i < layers; i++) {
    inputs.push(h);
    h = linear(h, model.tensors[`f${i}`], model.tensors[`f${i}.bias`]);
    if (i === layers - 1) break;
    if (activation === "leaky") {
      slopes.push(h.map((v) => (v < 0 ? slope : 1)));
      h = h.map((v) => (v < 0 ? slope * v : v));
    } else {
      const gate = h.map((v) => 1 / (1 + Math.exp(-v)));
      slopes.push(h.map((v, j) => gate[j] * (1 + v * (1 - gate[j]))));
      h = h.map((v, j) => v * gate[j]);
    }
  }
  const value = h[0];
  let back = new Float32Array([1]);
  for (let i = layers - 1; i >= 0; i--) {
    const { data: w, shape: [rows, columns] } = model.tensors[`f${i}`];
    const below = new Float32Array(columns);
    for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) below[c] += back[r] * w[r * columns + c];
    back = i ? below.map((v, c) => v * slopes[i - 1][c]) : below;
  }
  return { value, gradient: back };
}

/** One step of Eq. 13 towards exp(steepness · f) N(0, I), in place; units outside [from, to) are held. */
function langevinStep(model, z, s, noise, { steepness = 1, from = 0, to = z.length } = {}) {
  const { gradient } = energy(model, z);
  for (let i = from; i < to; i++) z[i] += 0.5 * s * s * (steepness * gradient[i] - z[i]) + s * noise();
}

/** Standard normal numbers from a seed (mulberry32 and Box–Muller). */
function normal(seed) {
  let a = seed >>> 0;
  const uniform = () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

globalThis.hebmExplorers = { readModel, decode, energy, langevinStep, normal };

const draw = (units, noise) => Float32Array.from({ length: units }, noise);

// ---- the element ---------------------------------------------------------------------------------------------------

const STYLE = `
:host { display: block; margin: 1rem 0; --ink: #222; --ground: #fff; --edge: #767676; --mark: #0072b2; color: var(--ink); }
:host(.dark) { --ink: #ececec; --ground: #1c1f24; --edge: #9aa0a6; --mark: #56b4e9; }
.box { border: 1px solid var(--edge); border-radius: 8px; padding: .8rem; background: var(--ground); color: var(--ink);
  font: 15px/1.4 system-ui, sans-serif; }
.row { display: flex; flex-wrap: wrap; gap: .7rem 1rem; align-items: center; margin: .35rem 0; }
fieldset { border: 0; margin: .35rem 0; padding: 0; display: flex; flex-wrap: wrap; gap: .3rem 1rem; align-items: center; min-width: 0; }
legend { float: left; font-weight: 600; padding: 0; margin-right: .8rem; }
label { display: inline-flex; gap: .4rem; align-items: center; }
input[type=range] { width: 8.5rem; height: 1.9rem; accent-color: var(--mark); }
button { font: inherit; min-height: 2.2rem; padding: .2rem .8rem; border-radius: 6px; border: 1px solid var(--edge);
  background: var(--ground); color: var(--ink); cursor: pointer; }
button:hover { border-color: var(--mark); }
:focus-visible { outline: 3px solid var(--mark); outline-offset: 2px; }
canvas { max-width: 100%; height: auto; image-rendering: pixelated; display: block; border-radius: 4px; }
p { margin: .3rem 0; min-height: 1.4em; }
`;

function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key in node && key !== "role") node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

function slider(text, low, high, step, value, act, spoken = text) {
  const shown = make("output", {}, String(value));
  const input = make("input", { type: "range", min: low, max: high, step, "aria-label": spoken });
  input.value = value;
  input.addEventListener("input", () => { shown.textContent = input.value; act(Number(input.value)); });
  const label = make("label", {}, text, input, shown);
  label.set = (v) => { input.value = v; shown.textContent = String(Math.round(v * 100) / 100); };
  return label;
}

function choice(legend, name, options, act) {
  const group = make("fieldset", {}, make("legend", {}, legend));
  options.forEach(([value, text], i) => {
    const input = make("input", { type: "radio", name, value, checked: i === 0 });
    input.addEventListener("change", () => act(value));
    group.append(make("label", {}, input, text));
  });
  return group;
}

const SIDE = 28;

function stamp(context, image, left, top, scale) {
  const side = Math.round(Math.sqrt(image.length));
  const pixels = context.createImageData(side * scale, side * scale);
  for (let r = 0; r < side * scale; r++) for (let c = 0; c < side * scale; c++) {
    const grey = 127.5 * (image[Math.floor(r / scale) * side + Math.floor(c / scale)] + 1), at = 4 * (r * side * scale + c);
    pixels.data[at] = pixels.data[at + 1] = pixels.data[at + 2] = grey;
    pixels.data[at + 3] = 255;
  }
  context.putImageData(pixels, left, top);
}

/** (a) The levels of a hierarchy: set a code by hand, and see each level redrawn while the others stay. */
function levels(model, root, noise) {
  const COLUMNS = 8, SCALE = 2, CELL = SIDE * SCALE + 4, L = model.levels.length, BIG = 6;
  let pool = [], prior = "energy", job = 0, z = null;
  const canvas = make("canvas", { width: BIG * SIDE, height: BIG * SIDE, role: "img", "aria-label": "The digit of the present codes" });
  const grid = make("canvas", {
    width: COLUMNS * CELL, height: L * CELL, role: "img",
    "aria-label": "A row of digits for each level. In row i only z_i is redrawn, all other codes are those of the large digit.",
  });
  const status = make("p", { role: "status" });
  const part = (level, other) => other.slice(model.starts[level], model.starts[level] + model.levels[level]);
  const along = (level, k) => {  // position of z on a level's k-th direction, in standard deviations
    const { data, shape: [, n] } = model.tensors[`axes${level + 1}`], centre = model.tensors[`centre${level + 1}`].data;
    let dot = 0, norm = 0;
    part(level, z).forEach((v, i) => { dot += (v - centre[i]) * data[i * n + k]; norm += data[i * n + k] ** 2; });
    return norm ? dot / norm : 0;
  };
  function sample(n) {
    const { steps, step_size: s } = model.langevin;
    return Array.from({ length: n }, () => {
      const code = draw(model.units, noise);
      if (prior === "energy") for (let t = 0; t < steps; t++) langevinStep(model, code, s, noise);
      return code;
    });
  }
  const sliders = [];
  function paint() {
    stamp(canvas.getContext("2d"), decode(model, z), 0, 0, BIG);
    sliders.forEach(({ label, level, k }) => label.set(along(level, k)));
    const mine = ++job, context = grid.getContext("2d");
    let cell = 0;
    const next = () => {  // a few digits per frame, so that a slider never waits for the grid
      if (mine !== job) return;
      const until = performance.now() + 12;
      do {
        const level = Math.floor(cell / COLUMNS), code = z.slice(), other = pool[cell % COLUMNS];
        code.set(part(level, other), model.starts[level]);
        stamp(context, decode(model, code), (cell % COLUMNS) * CELL, level * CELL, SCALE);
        cell++;
      } while (cell < L * COLUMNS && performance.now() < until);
      if (cell < L * COLUMNS) requestAnimationFrame(next);
    };
    next();
  }
  function refill() {
    pool = sample(COLUMNS);
    if (!z) [z] = sample(1);
    paint();
  }
  const box = make("div", { className: "box" });
  const controls = make("div");
  model.levels.forEach((units, level) => {
    const group = make("fieldset", {}, make("legend", {}, `z_${level + 1}`));
    for (let k = 0; k < Math.min(2, units); k++) {
      const text = units > 2 ? `direction ${k + 1}` : `unit ${k + 1}`;
      const label = slider(text, -3, 3, 0.05, 0, (value) => {
        const { data, shape: [rows, n] } = model.tensors[`axes${level + 1}`], by = value - along(level, k);
        for (let i = 0; i < rows; i++) z[model.starts[level] + i] += by * data[i * n + k];
        paint();
      }, `z_${level + 1}, ${text}`);
      sliders.push({ label, level, k });
      group.append(label);
    }
    group.append(make("button", { type: "button", onclick: () => {
      z.set(part(level, sample(1)[0]), model.starts[level]);
      status.textContent = `Only z_${level + 1} was redrawn.`;
      paint();
    } }, `Redraw z_${level + 1}`));
    controls.append(group);
  });
  controls.append(choice("Prior", "prior", [["energy", "with the energy"], ["gauss", "N(0, I)"]], (value) => {
    prior = value;
    z = null;
    refill();
    status.textContent = value === "energy" ? `Samples after ${model.langevin.steps} Langevin steps.` : "Samples of N(0, I).";
  }));
  controls.append(make("button", { type: "button", onclick: () => { z = null; refill(); status.textContent = "All levels were redrawn."; } }, "New digit"));
  box.append(
    make("div", { className: "row" }, canvas, grid),
    make("p", {}, "In each row of small digits only one level is redrawn: z_1 in the first, z_2 in the second, and so on."),
    controls, status,
  );
  root.append(box);
  refill();
}

/** (b) Langevin dynamics on the exact plane of the top level, the levels below held at 0. */
function langevin(model, root, noise) {
  const WIDTH = 420, LIMIT = 4, CELLS = 60, N = 16, top = model.levels.length - 1, from = model.starts[top];
  let s = model.langevin.step_size, K = model.langevin.steps, steepness = 1, persistent = false, running = 0, ground = null;
  let cells = null, particles = [], images = [];
  const canvas = make("canvas", {
    width: WIDTH, height: WIDTH, role: "img",
    "aria-label": `The plane of the top level's two units. Shade is the exact density, each of ${N} particles is drawn as the digit that it decodes to.`,
  });
  const status = make("p", { role: "status" });
  const at = (v) => ((v + LIMIT) / (2 * LIMIT)) * WIDTH;
  function landscape() {
    const logs = new Float64Array(CELLS * CELLS), z = new Float32Array(model.units);
    let most = -Infinity;
    for (let i = 0; i < CELLS; i++) for (let j = 0; j < CELLS; j++) {
      z[from] = ((j + 0.5) / CELLS) * 2 * LIMIT - LIMIT;
      z[from + 1] = LIMIT - ((i + 0.5) / CELLS) * 2 * LIMIT;
      const k = i * CELLS + j;
      logs[k] = steepness * energy(model, z).value - 0.5 * (z[from] ** 2 + z[from + 1] ** 2);
      most = Math.max(most, logs[k]);
    }
    cells = logs.map((v) => Math.exp(v - most));
    ground = make("canvas", { width: CELLS, height: CELLS });
    const pixels = ground.getContext("2d").createImageData(CELLS, CELLS);
    cells.forEach((v, k) => {
      const light = 1 - Math.sqrt(v);
      pixels.data.set([20 + 225 * light, 90 + 155 * light, 140 + 110 * light, 255], 4 * k);
    });
    ground.getContext("2d").putImageData(pixels, 0, 0);
  }
  function paint() {
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = true;
    context.drawImage(ground, 0, 0, WIDTH, WIDTH);
    particles.forEach((z, i) => {
      const left = at(z[from]), upper = at(-z[from + 1]);
      if (images[i]) stamp(context, images[i], Math.round(left) - 14, Math.round(upper) - 14, 1);
      else { context.fillStyle = "#d55e00"; context.fillRect(left - 3, upper - 3, 6, 6); }
    });
  }
  function fresh() {
    particles = Array.from({ length: N }, () => {
      const z = new Float32Array(model.units);
      z[from] = noise();
      z[from + 1] = noise();
      return z;
    });
    images = particles.map((z) => decode(model, z));
  }
  const mean = () => particles.reduce((sum, z) => sum + steepness * energy(model, z).value - 0.5 * (z[from] ** 2 + z[from + 1] ** 2), 0) / N;
  function run() {
    if (!persistent) fresh();
    const mine = ++running, before = mean();
    let t = 0;
    const frame = () => {
      if (mine !== running) return;
      for (let k = 0; k < Math.max(1, Math.round(K / 60)) && t < K; k++, t++) {
        particles.forEach((z) => langevinStep(model, z, s, noise, { steepness, from, to: from + 2 }));
      }
      for (let k = 0; k < 3; k++) { const i = (t * 3 + k) % N; images[i] = decode(model, particles[i]); }
      if (t >= K) images = particles.map((z) => decode(model, z));
      paint();
      status.textContent = t >= K
        ? `After ${K} steps the particles' mean log-density went from ${before.toFixed(1)} to ${mean().toFixed(1)}.`
        : status.textContent;
      if (t < K) requestAnimationFrame(frame);
    };
    frame();
  }
  const box = make("div", { className: "box" }), controls = make("div");
  controls.append(
    slider("Step size s", 0.02, 1, 0.02, s, (v) => { s = v; }),
    slider("Steps K", 1, 300, 1, K, (v) => { K = v; }),
    slider("Steepness of f", 0, 2, 0.1, 1, (v) => { steepness = v; landscape(); paint(); }),
    choice("Chains", "chains", [["fresh", "fresh, from N(0, I)"], ["persistent", "persistent, go on"]], (v) => { persistent = v === "persistent"; }),
    make("button", { type: "button", onclick: run }, "Run"),
  );
  [...controls.children].forEach((child) => { if (child.tagName === "LABEL") child.style.display = "flex"; });
  box.append(make("div", { className: "row" }, canvas, controls), status);
  root.append(box);
  landscape();
  fresh();
  paint();
}

const KINDS = { levels, langevin };

/** The bytes of a model of the book. A page on a disk may not fetch a file beside it, but it may run a script that holds it. */
async function bytesOf(name) {
  const address = new URL(`explorers/${name}.safetensors`, HERE);
  if (address.protocol !== "file:") return fetched(address);
  if (!globalThis.hebmModels?.[name]) {
    await new Promise((done, failed) => {
      const script = make("script", { src: new URL(`explorers/${name}.js`, HERE).href, onload: done, onerror: failed });
      document.head.append(script);
    });
  }
  return fetched(globalThis.hebmModels[name]);
}

async function fetched(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`the model is not there (${answer.status})`);
  return answer.arrayBuffer();
}

if (typeof HTMLElement !== "undefined") {
  class Explorer extends HTMLElement {
    connectedCallback() {
      if (this.shadowRoot) return;
      const root = this.attachShadow({ mode: "open" });
      root.append(make("slot"));  // the still picture, until there is something better
      const page = document.documentElement;
      const theme = () => this.classList.toggle("dark", page.dataset.theme === "dark"
        || (!page.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches));
      theme();
      new MutationObserver(theme).observe(page, { attributes: true, attributeFilter: ["data-theme"] });
      const watcher = new IntersectionObserver((entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        watcher.disconnect();
        this.load(root);
      }, { rootMargin: "300px" });
      watcher.observe(this);
    }
    async load(root) {
      try {
        const given = this.getAttribute("src");
        const model = readModel(await (given ? fetched(given) : bytesOf(this.getAttribute("model"))));
        const built = document.createDocumentFragment();
        built.append(make("style", {}, STYLE));
        KINDS[this.getAttribute("kind")](model, built, normal(Number(this.getAttribute("seed") ?? 1)));
        root.replaceChildren(built);
        this.model = model;
        this.dataset.state = "ready";
      } catch (error) {
        this.dataset.state = "failed";  // the still picture stays
        this.dataset.why = String(error);
      }
    }
  }
  if (!customElements.get("hebm-explorer")) customElements.define("hebm-explorer", Explorer);
}
})();
