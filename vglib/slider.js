(() => {
  const TAG = "VG-SLIDER";
  if (customElements.get(TAG)) return;
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
    p { font-size: 1.1rem; min-height: 4.6em; margin: .2rem 0; text-align: start; }
    ul { list-style: none; display: flex; flex-wrap: wrap; gap: 0 1.5rem; padding: 0; margin: 0;
         font-size: .9rem; }
    i { display: inline-block; width: 1.5rem; border-top: 2px solid; vertical-align: middle; }
    details { text-align: start; }
    summary { min-height: 1.5rem; cursor: pointer; }`;

  // Arrow keys move the slider, not the notebook's cell selection: JupyterLab listens on window.
  for (const type of ["keydown", "keyup"])
    addEventListener(type, (event) => {
      if (event.composedPath().some((node) => node.localName === TAG)) event.stopPropagation();
    }, true);

  const safe = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

  customElements.define(TAG, class extends HTMLElement {
    connectedCallback() {
      if (this.shadowRoot) return;
      // The script stands after the element, so its children are already here.
      this.data = JSON.parse(this.querySelector("script").textContent);
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
        <ul><li><span style="color:#d55e00">●</span> measured: median and range over seeds</li>
            <li><i></i> ${safe(this.data.line)}</li></ul>
        <details><summary>All settings as a table</summary><slot></slot></details>`;
      this.inputs = [...root.querySelectorAll("input, select")];
      root.querySelector("form").addEventListener("input", () => this.draw());
      root.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
      // Text in the drawing keeps its size on a phone, so the drawing follows the page's width.
      new ResizeObserver(() => this.draw()).observe(this);
      this.draw();
    }

    draw() {
      const { controls, states, position, quantity } = this.data;
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
        marks += `<rect x="${left - 34}" width="22" y="${y(i) - 0.4 * step}" height="${0.8 * step}"
          fill="none" stroke="currentColor" stroke-width=".8"/>
          <rect x="${left - 34}" width="22" y="${y(i) - 0.4 * step}" height="${0.8 * step}"
          fill="#d55e00" opacity="${Math.max(0, Math.min(1, 1 + value / 12)).toFixed(2)}"/>`;
        if (i === 0 || i === n - 1 || ((i + 1) % every === 0 && n - 1 - i > every / 2))
          marks += `<text x="${left - 40}" y="${y(i) + 4}" text-anchor="end">${i + 1}</text>`;
        marks += `<line x1="${x(value - below[i])}" x2="${x(value + above[i])}" y1="${y(i)}" y2="${y(i)}" stroke="#d55e00" stroke-width="2"/>
          <circle class="point" cx="${x(value).toFixed(1)}" cy="${y(i).toFixed(1)}" r="${Math.max(2, Math.min(4, step / 2))}" fill="#d55e00"/>`;
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
