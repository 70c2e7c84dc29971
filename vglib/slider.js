(() => {
  const TAG = "VG-SLIDER";
  if (customElements.get(TAG)) return;
  // Hollow, filled, or filled with a ring: told apart without colours as well.
  const point = (state, x, y, r, kind = "point") =>
    `<circle class="${kind} ${state}" cx="${x}" cy="${y}" r="${r}"/>` +
    (state === "exploding" ? `<circle class="ring" cx="${x}" cy="${y}" r="${r + 2.5}"/>` : "");
  const dot = (state) =>
    `<svg class="dot" width="16" height="16" aria-hidden="true">${point(state, 8, 8, 4, "key")}</svg>`;
  const STYLE = `
    :host { display: block; max-width: 46rem; margin: 1rem auto; color: inherit; }
    form { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: end; margin: 0; }
    label { display: flex; flex-direction: column; font-size: .9rem; }
    label:first-child { flex: 1 1 16rem; }
    input, select { font: inherit; color: inherit; min-height: 2.75rem; touch-action: pan-y; }
    select { background: transparent; border: 1px solid currentColor; border-radius: .3rem; }
    option { color: black; background: white; }
    input { width: 100%; margin: 0; accent-color: #d55e00; }
    :focus-visible { outline: 3px solid #0072b2; outline-offset: 2px; }
    svg { display: block; max-width: 100%; margin: auto; font: 13px sans-serif; }
    .dot { display: inline; vertical-align: middle; }
    p { font-size: 1.1rem; min-height: 4.6em; margin: .2rem 0; text-align: start; }
    ul { list-style: none; display: flex; flex-wrap: wrap; gap: 0 1.5rem; padding: 0; margin: 0;
         font-size: .9rem; }
    .starved { fill: var(--vg-starved, #2b6cb0); stroke: var(--vg-starved, #2b6cb0);
               fill-opacity: 0; stroke-width: 1.5; }
    rect.starved { stroke-dasharray: 3 2; }
    .fed { fill: var(--vg-fed, #3aa387); }
    .exploding { fill: var(--vg-exploding, #9c3600); }
    .ring { fill: none; stroke: var(--vg-exploding, #9c3600); stroke-width: 1.5; }
    i { display: inline-block; width: 1.5rem; border-top: 2px solid; vertical-align: middle; }
    details { text-align: start; }
    summary { min-height: 1.5rem; cursor: pointer; }`;

  // What a layer or a time step is called, beside the one next to the loss.
  const KEY = `<ul><li>${dot("starved")} starved: at most a tenth of what is next to the loss</li>
    <li>${dot("fed")} fed</li><li>${dot("exploding")} exploding: ten times that or more</li></ul>`;

  // Arrow keys move the slider, not the notebook's cell selection: JupyterLab listens on window.
  for (const type of ["keydown", "keyup"])
    addEventListener(type, (event) => {
      if (event.composedPath().some((node) => node.localName === TAG)) event.stopPropagation();
    }, true);

  const safe = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

  customElements.define(TAG, class extends HTMLElement {
    connectedCallback() {
      if (this.shadowRoot) return;
      // This script stands after the first figure of a page. Of a later one the children are not
      // here yet while the page is read.
      const data = this.querySelector("script");
      if (!data)
        return void addEventListener("DOMContentLoaded", () => this.connectedCallback(), { once: true });
      this.data = JSON.parse(data.textContent);
      const root = this.attachShadow({ mode: "open" });
      const controls = this.data.controls.map(([name, choices], i) => {
        const start = this.data.start[i];
        const numbers = choices.every((choice) => typeof choice === "number");
        const input = numbers
          ? `<input type="range" min="0" max="${choices.length - 1}" step="1" value="${start}">`
          : `<select>${choices.map((choice, k) =>
              `<option value="${k}" ${k === start ? "selected" : ""}>${safe(choice)}</option>`).join("")}</select>`;
        return `<label><span>${safe(name)}${numbers ? ": <b></b>" : ""}</span>${input}</label>`;
      });
      root.innerHTML = `<style>${STYLE}</style><form>${controls.join("")}</form>
        <div></div><p aria-live="polite"></p>
        <ul><li>points: median and range over ${safe(this.data.over)}</li><li><i></i> ${safe(this.data.line)}</li></ul>
        ${this.data.gradients ? KEY : ""}
        <details><summary>All settings as a table</summary><slot></slot></details>`;
      this.inputs = [...root.querySelectorAll("input, select")];
      root.querySelector("form").addEventListener("input", () => this.draw());
      root.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
      // Text in the drawing keeps its size on a phone, so the drawing follows the page's width.
      new ResizeObserver(() => this.draw()).observe(this);
      this.draw();
    }

    draw() {
      const { controls, states, position, quantity, gradients } = this.data;
      let index = 0;
      this.inputs.forEach((input, i) => {
        const choices = controls[i][1];
        index = index * choices.length + Number(input.value);
        if (input.type === "range") {
          input.previousElementSibling.querySelector("b").textContent = choices[input.value];
          input.setAttribute("aria-valuetext", `${choices[input.value]}`);
        }
      });
      const [sentence, predicted, median, below, above] = states[index];

      // One log axis for all states, so that what changes is the curve and not the scale.
      const all = states.flatMap(([, line, middle, down, up]) =>
        [...line, ...middle.map((v, i) => v - down[i]), ...middle.map((v, i) => v + up[i])]);
      const W = Math.max(280, Math.min(640, this.clientWidth || 460));
      const H = 400, left = 74, right = 20, top = 34, bottom = 52;
      const lowest = Math.min(...all), to = Math.max(1, Math.ceil(Math.max(...all)));
      const decade = [1, 2, 5, 10, 20, 50].find((d) => (to - lowest) / d <= (W - left) / 55);
      const from = decade * Math.floor(lowest / decade);
      const x = (log) => left + ((log - from) / (to - from)) * (W - left - right);
      const n = median.length;
      const name = (got) => got <= -1 ? "starved" : got >= 1 ? "exploding" : "fed";
      const step = (H - top - bottom) / n;
      const y = (i) => H - bottom - (i + 0.5) * step;
      const superscript = (k) => `10<tspan dy="-5" font-size="10">${k}</tspan>`;

      let marks = "";
      for (let k = from; k <= to; k += decade)
        marks += `<line x1="${x(k)}" x2="${x(k)}" y1="${top}" y2="${H - bottom}" stroke="currentColor" opacity=".15"/>
          <text x="${x(k)}" y="${H - bottom + 20}" text-anchor="middle">${superscript(k)}</text>`;
      marks += `<polyline fill="none" stroke="currentColor" stroke-width="1.5"
        points="${predicted.map((value, i) => `${x(value).toFixed(1)},${y(i).toFixed(1)}`).join(" ")}"/>`;
      const every = Math.ceil(n / 6);
      median.forEach((value, i) => {
        // Powers of ten more or less than next to the loss; a starved box fades with them.
        const got = value - median[n - 1], state = gradients ? name(got) : "plain";
        if (gradients)
          marks += `<rect class="${state}" x="${left - 34}" width="22" y="${y(i) - 0.4 * step}" height="${0.8 * step}"
            ${state === "starved" ? `style="fill-opacity:${Math.max(0, 0.3 + got / 20).toFixed(2)}"` : ""}/>`;
        if (i === 0 || i === n - 1 || ((i + 1) % every === 0 && n - 1 - i > every / 2))
          marks += `<text x="${left - 40}" y="${y(i) + 4}" text-anchor="end">${i + 1}</text>`;
        marks += `<line x1="${x(value - below[i])}" x2="${x(value + above[i])}" y1="${y(i)}" y2="${y(i)}" stroke="currentColor" opacity=".6"/>
          ${point(state, x(value).toFixed(1), y(i).toFixed(1), Math.max(2, Math.min(4, step / 2)))}`;
      });
      marks += `
        <text x="${left - 23}" y="${top - 18}" text-anchor="middle">loss</text>
        <path d="M${left - 23},${top - 14} v8 m-4,-4 l4,4 l4,-4" fill="none" stroke="currentColor"/>
        <text transform="translate(12 ${(top + H - bottom) / 2}) rotate(-90)" text-anchor="middle">${safe(position)}</text>
        <text x="${(left + W - right) / 2}" y="${H - 8}" text-anchor="middle">${safe(quantity)}</text>`;
      this.shadowRoot.querySelector("div").innerHTML =
        `<svg viewBox="0 0 ${W} ${H}" width="${W}" height="${H}" role="img" aria-label="${safe(`${quantity} by ${position}. ${sentence}`)}" fill="currentColor">${marks}</svg>`;
      this.shadowRoot.querySelector("p").textContent = sentence;
    }
  });
})();
