// The figure on the first page: theory for any setting, what a lesson measured at some, and real
// networks drawn in the page. Without JavaScript its table is all there is.
(() => {
  const { ACTIVATIONS, predict, measure, readable, compared } = message;

  // The weight scale in steps of a fortieth of an octave; three of them are rules by name.
  const OCTAVE = 40, LEAST = -2 * OCTAVE, MOST = 4 * OCTAVE;
  const RULES = { torch: ["PyTorch", -32], xavier: ["Xavier", 0], he: ["He", OCTAVE / 2] };
  const KEPT = 20; // networks shown, the latest ones
  const SECONDS = 3; // of the message's way down

  const ruleOf = (scale) => Object.keys(RULES).find((name) => RULES[name][1] === scale);
  const isCalm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  // A setting from where the controls stand, and the name of its rule: PyTorch draws biases itself.
  function settingOf({ activation, depth, scale, bias }) {
    const rule = ruleOf(scale);
    const init = !rule || (rule === "torch" && bias) ? "normal" : rule;
    const gain = rule === "torch" ? 3 ** -0.5 : 2 ** (scale / OCTAVE);
    return { activation, depth, init, gain, bias };
  }

  function named(state) {
    const { init, gain, bias } = settingOf(state);
    const weights = init === "normal" ? `weight scale ${readable(gain)}` : `${RULES[init][0]}’s weights`;
    return `${ACTIVATIONS[state.activation][0]}, ${state.depth} layers, ${weights}` +
      (bias ? `, biases ${bias}` : "");
  }

  // A state in an address: tanh-30-torch, or with biases and networks drawn tanh-30-0_71-0_2-3.
  // An address must be a valid selector, or the theme's script stumbles over it.
  function written({ activation, depth, scale, bias, networks }) {
    const weights = ruleOf(scale) ?? Number((2 ** (scale / OCTAVE)).toPrecision(3));
    const all = [activation, depth, weights, bias, networks];
    while (!all[all.length - 1]) all.pop();
    return all.join("-").replaceAll(".", "_");
  }

  // The state that an address describes; null where it describes none.
  function read(address = "") {
    const [activation, ...rest] = address.split("-");
    const [depth, rule, bias = 0, networks = 0] = rest.map((word) => word.replace("_", "."));
    const scale = RULES[rule]?.[1] ?? Math.round(OCTAVE * Math.log2(rule));
    const state = { activation, depth: Number(depth), scale, bias: Number(bias), networks: Number(networks) };
    const within = (value, least, most) => value >= least && value <= most;
    const sound = Object.hasOwn(ACTIVATIONS, activation) && Number.isInteger(state.depth) &&
      within(state.depth, 2, 60) && within(scale, LEAST, MOST) && within(state.bias, 0, 2) &&
      Number.isInteger(state.networks) && within(state.networks, 0, 999);
    return sound ? state : null;
  }

  // Hollow, filled, or filled with a ring: told apart without colours as well.
  const stateOf = (log) => (log <= -1 ? "starved" : log >= 1 ? "exploding" : "fed");
  const KINDS = { starved: ": at most a tenth of what is next to the loss", fed: "",
    exploding: ": ten times that or more" };
  const point = (state, x, y, r, kind = "point") =>
    `<circle class="${kind} ${state}" cx="${x}" cy="${y}" r="${r}"/>` +
    (state === "exploding" ? `<circle class="ring" cx="${x}" cy="${y}" r="${r + 2.5}"/>` : "");
  const cross = (x, y, r) => `M${x - r},${y - r}l${2 * r},${2 * r}m0,${-2 * r}l${-2 * r},${2 * r}`;
  const key = (mark) => `<svg class="key" width="22" height="16" aria-hidden="true">${mark}</svg>`;

  const STYLE = `
    :host { display: block; scroll-margin-top: 5rem; max-width: 46rem; margin: 1rem auto; text-align: start; }
    form, .buttons, ul { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; margin: 0; }
    form { align-items: start; }
    label { display: flex; flex-direction: column; font-size: .9rem; }
    form > .wide { flex: 1 1 15rem; min-width: 0; }
    input, select, button { font: inherit; color: inherit; min-height: 2.75rem; box-sizing: border-box; }
    input { width: 100%; margin: 0; accent-color: #d55e00; touch-action: pan-y; }
    select, button { background: transparent; border: 1px solid currentColor; border-radius: .3rem; }
    option { color: black; background: white; }
    button { padding: 0 .8rem; font-size: .9rem; cursor: pointer; }
    .rules { display: flex; gap: .4rem; }
    .rules button { flex: 1; min-height: 2rem; padding: 0 .2rem; }
    button[aria-pressed="true"] { outline: 2px solid currentColor; outline-offset: -2px; font-weight: bold; }
    :focus-visible, button[aria-pressed="true"]:focus-visible { outline: 3px solid #0072b2; outline-offset: 2px; }
    .buttons { margin-top: .6rem; gap: .5rem; }
    .draw { font-weight: bold; border-width: 2px; }
    svg { display: block; max-width: 100%; margin: auto; font: 13px sans-serif; fill: currentColor; }
    text { text-anchor: middle; }
    .end { text-anchor: end; }
    .at { text-anchor: start; font-weight: bold; }
    .key { flex: none; margin: 0; }
    p { font-size: 1.1rem; min-height: 6em; margin: .2rem 0; }
    ul { list-style: none; gap: 0 1.5rem; padding: 0; font-size: .9rem; }
    li { display: flex; gap: .4rem; align-items: center; }
    a { color: var(--pst-color-link, inherit); }
    .starved { fill: var(--vg-starved); stroke: var(--vg-starved); fill-opacity: 0; stroke-width: 1.5; }
    rect.starved { stroke-dasharray: 3 2; }
    .fed { fill: var(--vg-fed); }
    .exploding { fill: var(--vg-exploding); }
    .ring, .line { fill: none; stroke-width: 1.5; }
    .ring { stroke: var(--vg-exploding); }
    .drawn { fill: none; stroke: var(--vg-direct); stroke-width: 2; }
    .older { stroke-width: 1; opacity: .6; }
    .axis, .line, .held, .tick, .bar { stroke: currentColor; fill: none; }
    .held { stroke-width: 2; stroke-dasharray: 2 4; }
    .tick { opacity: .15; }
    .bar { opacity: .6; }
    .ahead { opacity: .15; }
    .message { fill: var(--vg-direct); }
    details { margin: .3rem 0; }
    summary { min-height: 1.5rem; cursor: pointer; }
    .more > * { margin: .5rem 0; }`;

  const slider = (name, label, least, most, step = 1) => `<label class="wide"><span>${label}:
    <b></b></span><input type="range" name="${name}" min="${least}" max="${most}" step="${step}"></label>`;

  const BODY = `<style>${STYLE}</style>
    <form>
      <label>activation<select name="activation">${Object.entries(ACTIVATIONS).map(([value, [words]]) =>
        `<option value="${value}">${words}</option>`).join("")}</select></label>
      ${slider("depth", "depth", 2, 60)}
      <div class="wide">${slider("scale", "weight scale", LEAST, MOST)}
        <span class="rules" role="group" aria-label="Weights by rule">${Object.entries(RULES).map(
          ([rule, [words]]) => `<button type="button" value="${rule}">${words}</button>`).join("")}</span></div>
    </form>
    <div class="buttons"><button type="button" class="draw">Draw a network</button>
      <button type="button" class="play">Send the message down</button></div>
    <div class="drawing"></div>
    <p aria-live="polite"></p>
    <ul class="legend"></ul>
    <details class="more"><summary>More to try: what people say, two settings, biases</summary>
      <slot name="sayings"></slot>
      <form>${slider("bias", "random biases, their size", 0, 2, 0.05)}</form>
      <div class="buttons"><button type="button" class="hold" aria-pressed="false">Hold this setting,
        to compare with another</button></div>
      <div><a class="link">Link to what you see</a></div>
    </details>
    <details><summary>Stored settings as a table</summary><slot></slot></details>`;

  class Front extends HTMLElement {
    connectedCallback() {
      const { start, stored, low, high, pixels, targets } = JSON.parse(
        this.querySelector("script").textContent);
      this.stored = stored;
      this.targets = Array.from(targets, Number);
      this.inputs = pixels.match(/.{64}/g).map((row) => Float64Array.from(row, (pixel) =>
        low + (parseInt(pixel, 17) / 16) * (high - low)));
      const root = this.attachShadow({ mode: "open" });
      root.innerHTML = BODY;
      const find = (selector) => root.querySelector(selector);
      this.parts = Object.fromEntries(["drawing", "legend", "hold", "play", "draw", "link"].map(
        (name) => [name, find(`.${name}`)]));
      this.said = find("p");
      this.controls = [...root.querySelectorAll("select, input")];
      this.rules = [...root.querySelectorAll(".rules button")];
      this.querySelector("[slot=sayings]").hidden = false;

      for (const control of this.controls)
        control.addEventListener("input", () => this.change({ [control.name]:
          control.type === "range" ? Number(control.value) : control.value }));
      for (const button of this.rules)
        button.addEventListener("click", () => this.change({ scale: RULES[button.value][1] }));
      for (const form of root.querySelectorAll("form"))
        form.addEventListener("submit", (event) => event.preventDefault());
      this.parts.draw.addEventListener("click", () => {
        this.state.networks += 1;
        this.keep();
        this.drawNext();
      });
      this.parts.hold.addEventListener("click", () => {
        this.held = this.held ? null : { ...this.state, networks: 0 };
        this.keep();
        this.show();
      });
      this.parts.play.addEventListener("click", () => this.play());
      addEventListener("hashchange", () => this.restore());
      // Text in the drawing keeps its size on a phone, so the drawing follows the page's width.
      new ResizeObserver(() => this.show()).observe(this);
      this.set(read(start), null);
      this.restore();
    }

    // From the address, if it is about this figure.
    restore() {
      const [now, held] = location.hash.replace(/^#net-/, "").split("--");
      const state = read(now);
      if (!state) return;
      this.set(state, read(held));
      const come = () => this.scrollIntoView({ behavior: isCalm() ? "auto" : "smooth" });
      if (document.readyState === "complete") come();
      else addEventListener("load", come, { once: true });
    }

    set(state, held) {
      this.state = state;
      this.held = held;
      this.drawn = [];
      this.seed = Math.max(0, state.networks - KEPT);
      this.stop();
      this.show();
      this.drawNext();
    }

    change(what) {
      this.moving = true;
      this.set({ ...this.state, ...what, networks: 0 }, this.held);
      this.keep();
    }

    // Addresses wait until a slider rests: a browser takes only so many.
    keep() {
      const address = `#net-${[this.state, this.held].filter(Boolean).map(written).join("--")}`;
      this.parts.link.setAttribute("href", address);
      this.moving = true;
      clearTimeout(this.waiting);
      this.waiting = setTimeout(() => {
        this.moving = this.said.ariaBusy = false;
        history.replaceState(history.state, "", address);
      }, 300);
    }

    // One network at a time, so that the page stays awake.
    drawNext() {
      const { state } = this;
      setTimeout(() => {
        if (state !== this.state || this.seed >= state.networks) return;
        const logs = measure(settingOf(state), ++this.seed, this.inputs, this.targets);
        this.drawn = [...this.drawn, logs].slice(-KEPT);
        this.show();
        this.drawNext();
      });
    }

    stop() {
      cancelAnimationFrame(this.frame);
      this.reached = null;
    }

    // The message comes down layer by layer. Where nothing should move, only its stations are told.
    play() {
      if (this.reached !== null) {
        this.stop();
        return this.show();
      }
      const { depth } = this.state, began = performance.now();
      const step = (now) => {
        this.reached = isCalm() ? depth : Math.max(0, (now - began) / 1000 / SECONDS) * depth;
        if (this.reached < depth) this.frame = requestAnimationFrame(step);
        else this.reached = null;
        this.show(this.reached === null);
      };
      step(began);
    }

    show(arrived = false) {
      const { state, held, parts } = this, setting = settingOf(state);
      const predicted = predict(setting, this.inputs);
      const before = held && predict(settingOf(held), this.inputs);
      const found = this.find(setting);
      for (const control of this.controls) {
        control.value = state[control.name];
        const words = { depth: `${state.depth} layers`, scale: readable(setting.gain),
          bias: setting.init === "torch" ? "as PyTorch draws them" : String(state.bias) }[control.name];
        if (!words) continue;
        control.previousElementSibling.querySelector("b").textContent = words;
        control.setAttribute("aria-valuetext", words);
      }
      for (const button of this.rules) button.ariaPressed = RULES[button.value][1] === state.scale;
      parts.hold.ariaPressed = Boolean(held);
      parts.play.textContent = this.reached === null ? "Send the message down" : "Stop";
      parts.draw.textContent = state.networks ? "Draw another" : "Draw a network";
      const sentence = this.sentence(setting, predicted, found, arrived);
      if (this.said.textContent !== sentence) this.said.textContent = sentence;
      this.said.ariaBusy = this.moving || this.reached !== null; // read out when it rests
      parts.legend.innerHTML = [
        [`<path class="line" d="M1,8h20"/>`, "predicted by theory"],
        found && [`<path class="bar" d="M1,8h20"/><circle cx="11" cy="8" r="4"/>`,
          "measured in the lesson: median and range over seeds"],
        this.drawn.length && [`<path class="drawn" d="${cross(11, 8, 4)}"/>`, "networks that you drew"],
        ...Object.entries(KINDS).map(([kind, words]) => predicted.some((log) => stateOf(log) === kind) &&
          [point(kind, 11, 8, 4, "key"), `${kind}${words}`]),
        held && [`<path class="held" d="M1,8h20"/>`, `held: ${named(held)}`],
      ].filter(Boolean).map(([mark, words]) => `<li>${key(mark)}<span>${words}</span></li>`).join("");
      parts.drawing.innerHTML = this.svg(predicted, before, found, sentence);
    }

    // What the lesson measured in this setting, if it did: curves of log10, and what its table says.
    find({ depth, activation, init, bias }) {
      const { depths, activations, inits, states } = this.stored;
      const [d, a, i] = [depths.indexOf(depth), activations.indexOf(activation), inits.indexOf(init)];
      if (bias || Math.min(d, a, i) < 0) return null;
      const row = a * inits.length + i;
      // In hundredths of a power of ten, for all layers but the top one: what a layer's median adds
      // to that of the layer above, and how far seeds go below and above it.
      const [added, ...ends] = states[d * activations.length * inits.length + row];
      const [below, above] = ends.map((curve) => [...curve, 0]), median = Array(depth).fill(0);
      added.reduceRight((sum, more, l) => (median[l] = sum + more / 100), 0);
      return {
        median,
        lower: median.map((log, l) => log - below[l] / 100),
        upper: median.map((log, l) => log + above[l] / 100),
        left: this.querySelectorAll("td")[row * depths.length + d].textContent,
      };
    }

    sentence(setting, predicted, found, arrived) {
      const { depth } = setting, share = 10 ** predicted[0];
      const factor = 10 ** (predicted[0] / (depth - 1));
      if (arrived) {
        const stations = [...new Set([1, 0.75, 0.5, 0.25, 0].map((part) =>
          1 + Math.round(part * (depth - 1))))];
        return "The message on its way down: " + stations.map((layer) =>
          `layer ${layer} gets ${layer === depth ? "1" : readable(10 ** predicted[layer - 1], 2)}`).join(", ") + ".";
      }
      const yours = this.drawn.map((logs) => 10 ** logs[0]);
      return `By theory, layer 1 gets ${readable(share, 2)} ${share > 1 ? "times" : "of"} the gradient that ` +
        `layer ${depth} gets: a factor of ${readable(factor)} per layer. ${compared(share)}` +
        (found ? ` Measured in the lesson: ${found.left}.` : "") +
        (yours.length ? ` The network that you drew last: ${readable(yours[yours.length - 1], 2)}.` : "") +
        (yours.length > 1 ? ` All ${yours.length} of yours: ${readable(Math.min(...yours), 2)} to ` +
          `${readable(Math.max(...yours), 2)}.` : "");
    }

    svg(predicted, before, found, sentence) {
      const { state, held, drawn, reached } = this, depth = state.depth;
      const { median, lower = [], upper = [] } = found ?? {};
      const all = [...predicted, ...(before ?? []), ...lower, ...upper, ...drawn.flat()];
      // The axis grows in few steps, so that what moves is mostly the curve and not the scale.
      const from = -[3, 10, 20, 40, 80, 160].find((k) => -k <= Math.min(...all));
      const to = [1, 3, 10, 20, 40, 80, 160].find((k) => k >= Math.max(...all));
      const W = Math.max(280, Math.min(640, this.clientWidth || 460));
      const H = 400, left = 74, right = 20, top = 34, bottom = 52;
      const decade = [1, 2, 5, 10, 20, 50].find((d) => (to - from) / d <= (W - left) / 45);
      const x = (log) => Number((left + ((log - from) / (to - from)) * (W - left - right)).toFixed(1));
      // Two networks stand below the same loss, so that equal factors make equal lines.
      const step = (H - top - bottom) / Math.max(depth, held?.depth ?? 0);
      const y = (i, n = depth) => Number((top + (n - i - 0.5) * step).toFixed(1));
      const line = (kind, logs, first = 0) => `<path class="${kind}" d="M${logs.map((log, i) =>
        `${x(log)},${y(i, logs.length)}`).slice(first).join("L")}"/>`;
      const down = (i) => reached === null || depth - i <= reached + 1; // the message has been here

      let marks = "";
      for (let k = Math.ceil(from / decade) * decade; k <= to; k += decade)
        marks += `<path class="tick" d="M${x(k)},${top}V${H - bottom}"/>
          <text x="${x(k)}" y="${H - bottom + 20}">10<tspan dy="-5" font-size="10">${k}</tspan></text>`;
      if (before) marks += line("held", before);
      marks += line("line", predicted, predicted.findIndex((_, i) => down(i)));
      const every = Math.ceil(depth / 6), radius = Math.max(2, Math.min(4, step / 2));
      predicted.forEach((log, i) => {
        const name = stateOf(log);
        marks += `<rect class="${name}${down(i) ? "" : " ahead"}" x="${left - 34}" width="22" y="${y(i) - 0.4 * step}" height="${0.8 * step}"
          ${name === "starved" ? `style="fill-opacity:${Math.max(0, 0.3 + log / 20).toFixed(2)}"` : ""}/>`;
        if (i === 0 || i === depth - 1 || ((i + 1) % every === 0 && depth - 1 - i > every / 2))
          marks += `<text x="${left - 40}" y="${y(i) + 4}" class="end">${i + 1}</text>`;
        if (found && down(i)) {
          const m = median[i];
          marks += `<path class="bar" d="M${x(lower[i])},${y(i)}H${x(upper[i])}"/>
            ${point(stateOf(m), x(m), y(i), radius)}`;
        }
      });
      drawn.forEach((logs, k) => {
        const latest = k === drawn.length - 1;
        marks += `<path class="drawn${latest ? "" : " older"}" d="${logs.map((log, i) =>
          (down(i) ? cross(x(log), y(i), latest ? radius : radius / 2) : "")).join("")}"/>`;
      });
      if (reached !== null) {
        const i = Math.max(0, depth - 1 - Math.floor(reached));
        marks += `<circle class="message" cx="${left - 23}" cy="${y(i)}" r="9"/>
          <text x="${Math.min(x(predicted[i]) + 10, W - 80)}" y="${y(i) + 4}" class="at">${readable(10 ** predicted[i], 2)}</text>`;
      }
      marks += `
        <text x="${left - 23}" y="${top - 18}">loss</text>
        <path class="axis" d="M${left - 23},${top - 14} v8 m-4,-4 l4,4 l4,-4"/>
        <text transform="translate(12 ${(top + H - bottom) / 2}) rotate(-90)">layer</text>
        <text x="${(left + W - right) / 2}" y="${H - 8}">RMS δ, relative to the top layer</text>`;
      return `<svg viewBox="0 0 ${W} ${H}" width="${W}" height="${H}" role="img"
        aria-label="The gradient by layer: ${named(state)}. ${sentence}">${marks}</svg>`;
    }
  }
  customElements.define("vg-front", Front);
})();
