"use strict";
// A generator in the visitor's browser: latents from a seed, moved along directions, or on a walk between seeds.

const spec = JSON.parse(document.getElementById("spec").textContent);
const [channels, height, width] = spec.shape;
const at = (id) => document.getElementById(id);
const state = { base: null, drawn: 0, seed: 0, walking: false, busy: false, stale: false };
let session;

// ------------------------------------------------------------------------------------------------ random numbers

/** The Mersenne Twister (Matsumoto & Nishimura 1998), 32 bits at a time, as torch.Generator on the CPU draws them. */
class Twister {
  constructor(seed) {
    this.words = new Uint32Array(624);
    this.words[0] = Number(BigInt(seed) & 0xffffffffn);
    for (let i = 1; i < 624; i++) {
      const last = this.words[i - 1] ^ (this.words[i - 1] >>> 30);
      this.words[i] = Math.imul(1812433253, last) + i;
    }
    this.next = 624;
  }

  refill() {
    const w = this.words;
    for (let i = 0; i < 624; i++) {
      const joined = (w[i] & 0x80000000) | (w[(i + 1) % 624] & 0x7fffffff);
      w[i] = w[(i + 397) % 624] ^ (joined >>> 1) ^ (joined & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }

  word() {
    if (this.next === 624) this.refill();
    let y = this.words[this.next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  /** Uniform in [0, 1), of 24 bits as a float has, or of 53 as a double has. */
  float() { return (this.word() & 0xffffff) / 2 ** 24; }
  double() {
    const high = this.word() & 0x1fffff;
    return (high * 2 ** 32 + this.word()) / 2 ** 53;
  }

  /** Normally distributed numbers as torch.randn gives them: by Box and Muller, in blocks of 16 from 16 numbers on. */
  normals(count) {
    const out = new Float32Array(count);
    if (count < 16) {
      for (let i = 0; i < count; i += 2) {
        const angle = 2 * Math.PI * this.double();
        const radius = Math.sqrt(-2 * Math.log1p(-this.double()));
        out[i] = radius * Math.cos(angle);
        if (i + 1 < count) out[i + 1] = radius * Math.sin(angle);
      }
      return out;
    }
    for (let i = 0; i < count; i++) out[i] = this.float();
    for (let i = 0; i + 16 <= count; i += 16) block(out.subarray(i, i + 16));
    if (count % 16) {
      const last = out.subarray(count - 16);
      for (let i = 0; i < 16; i++) last[i] = this.float();
      block(last);
    }
    return out;
  }
}

function block(values) {
  for (let i = 0; i < 8; i++) {
    const radius = Math.sqrt(-2 * Math.log(1 - values[i]));
    const angle = 2 * Math.PI * values[i + 8];
    values[i] = radius * Math.cos(angle);
    values[i + 8] = radius * Math.sin(angle);
  }
}

/** The latents of a seed, and the class that it draws: those of `equipoise generate --seeds`. */
function drawn(seed) {
  const source = new Twister(seed);
  const latents = source.normals(spec.latent_dim);
  return { latents, label: spec.classes.length ? source.word() % spec.classes.length : 0 };
}

// ------------------------------------------------------------------------------------------------ the model

/** What a data block of the page holds: base64 of gzip. */
async function unpacked(id) {
  const letters = atob(at(id).textContent);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i); // megabytes: a callback each would be slow
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

async function start() {
  const [binary, glue, model] = await Promise.all(["wasm", "glue", "model"].map(unpacked));
  ort.env.wasm.numThreads = 1; // more need a server that isolates the page
  ort.env.wasm.wasmBinary = binary;
  ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(new Blob([glue], { type: "text/javascript" })) };
  session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
}

/** A sample as numbers in about [-1, 1], [C * H * W]. */
async function generate(latents, label = 0) {
  const feed = { latents: new ort.Tensor("float32", Float32Array.from(latents), [1, spec.latent_dim]) };
  if (spec.classes.length) feed.labels = new ort.Tensor("int64", BigInt64Array.of(BigInt(label)), [1]);
  return (await session.run(feed)).samples.data;
}

// ------------------------------------------------------------------------------------------------ the picture

function paint(sample) {
  const area = height * width;
  const picture = new ImageData(width, height);
  for (let place = 0; place < area; place++) {
    for (let c = 0; c < 3; c++) {
      const value = sample[place + (channels === 3 ? c : 0) * area];
      picture.data[4 * place + c] = Math.round((value + 1) * 127.5); // clamped by the array
    }
    picture.data[4 * place + 3] = 255;
  }
  at("picture").getContext("2d", { willReadFrequently: true }).putImageData(picture, 0, 0); // pixels stay on the CPU
}

/** The latents shown: those of the seed or the walk, truncated, and moved by the sliders. */
function latents() {
  const moved = state.base.map((value) => value * Number(at("truncation").value));
  document.querySelectorAll("[data-direction]").forEach((slider) => {
    const direction = spec.directions[slider.dataset.direction];
    for (let i = 0; i < moved.length; i++) moved[i] += Number(slider.value) * direction[i];
  });
  return moved;
}

/** The class chosen, or else the seed's. */
function label() {
  const chosen = at("class") ? Number(at("class").value) : -1;
  return chosen < 0 ? state.drawn : chosen;
}

/** Show the present state; asked again while a sample is being made, it makes one more afterwards, and no queue. */
async function draw() {
  if (state.busy) {
    state.stale = true;
    return;
  }
  state.busy = true;
  do {
    state.stale = false;
    const began = performance.now();
    paint(await generate(latents(), label()));
    clock.count(performance.now() - began);
  } while (state.stale);
  state.busy = false;
}

/** Frames and milliseconds over the last second. */
const clock = {
  frames: [],
  count(cost) {
    const now = performance.now();
    this.frames.push([now, cost]);
    this.frames = this.frames.filter(([then]) => now - then < 1000);
    const mean = this.frames.reduce((sum, [, each]) => sum + each, 0) / this.frames.length;
    at("speed").textContent = state.walking
      ? `${this.frames.length} frames/s, ${mean.toFixed(1)} ms each`
      : `${cost.toFixed(1)} ms`;
  },
};

// ------------------------------------------------------------------------------------------------ controls

/** Take the latents of a seed, and its class unless one was chosen. */
function show(seed) {
  const found = drawn(seed);
  [state.seed, state.base, state.drawn] = [seed, found.latents, found.label];
  at("seed").value = seed;
  if (at("class")) at("class").options[0].textContent = `by the seed: ${spec.classes[found.label]}`;
}

/** From one point to another along the great circle, on which latents keep their length. */
function between(from, to, share) {
  const length = (v) => Math.sqrt(v.reduce((sum, x) => sum + x * x, 0));
  const dot = from.reduce((sum, x, i) => sum + x * to[i], 0) / (length(from) * length(to));
  const angle = Math.acos(Math.min(1, Math.max(-1, dot)));
  if (angle < 1e-4) return to.slice();
  const [a, b] = [Math.sin((1 - share) * angle), Math.sin(share * angle)].map((x) => x / Math.sin(angle));
  return from.map((x, i) => a * x + b * to[i]);
}

async function walk() {
  let [from, to, share] = [state.base, drawn(state.seed + 1).latents, 0];
  let before = performance.now();
  while (state.walking) {
    const now = await new Promise(requestAnimationFrame);
    share += Math.max(0, now - before) / 1000 / Number(at("pace").value);
    before = now;
    if (share >= 1) {
      show(state.seed + 1);
      [from, to, share] = [state.base, drawn(state.seed + 1).latents, 0];
    }
    state.base = between(from, to, share);
    await draw();
  }
}

function play(on) {
  if (on === state.walking) return;
  state.walking = on;
  at("walk").textContent = on ? "Pause" : "Walk";
  at("walk").setAttribute("aria-pressed", on);
  if (on) walk();
}

function connect() {
  at("seed").addEventListener("change", () => {
    const asked = Number(at("seed").value);
    play(false);
    show(Number.isSafeInteger(asked) && asked >= 0 ? asked : 0);
    draw();
  });
  at("another").addEventListener("click", () => {
    play(false);
    show(state.seed + 1);
    draw();
  });
  at("walk").addEventListener("click", () => play(!state.walking));
  if (at("class")) at("class").addEventListener("change", draw);
  document.querySelectorAll("input[type=range]").forEach((slider) => {
    slider.addEventListener("input", () => (tell(slider), draw()));
    tell(slider);
  });
  at("reset").addEventListener("click", () => {
    document.querySelectorAll("[data-direction]").forEach((slider) => ((slider.value = 0), tell(slider)));
    draw();
  });
}

/** The number beside a slider. */
function tell(slider) {
  slider.nextElementSibling.textContent = Number(slider.value).toFixed(1) + (slider.dataset.unit || "");
}

(async () => {
  try {
    connect();
    await start();
    show(0);
    await draw();
    at("status").hidden = true;
    document.body.dataset.ready = Math.round(performance.now()); // milliseconds since the page was asked for
    document.querySelectorAll("fieldset").forEach((part) => (part.disabled = false));
  } catch (error) {
    at("status").textContent = `The generator cannot run in this browser: ${error.message || error}`;
    throw error;
  }
})();
