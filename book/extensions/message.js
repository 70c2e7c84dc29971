// Mean-field theory and a real network, as in vglib, for the figure on the first page; draws
// nothing. A setting is {activation, depth, init, gain, bias} with the words of vglib.nets.mlp.
const message = (() => {
  const WIDTH = 100, CLASSES = 10;

  const sigmoid = (z) => 1 / (1 + Math.exp(-z));
  const bell = (z) => Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI);
  // The share of a standard Gaussian that lies below z (Marsaglia 2004).
  const below = (z) => {
    if (Math.abs(z) > 8) return z > 0 ? 1 : 0;
    let sum = z, before = NaN, term = z;
    for (let k = 3; sum !== before; k += 2) {
      before = sum;
      term *= z * z / k;
      sum += term;
    }
    return 0.5 + sum * bell(z);
  };
  const SCALE = 1.0507009873554805, ALPHA = 1.6732632423543772; // of SELU

  // φ and φ′ by the names in vglib/names.py, and how a menu writes them.
  const ACTIVATIONS = {
    sigmoid: ["sigmoid", sigmoid, (z) => sigmoid(z) * sigmoid(-z)],
    tanh: ["tanh", Math.tanh, (z) => 4 * sigmoid(2 * z) * sigmoid(-2 * z)],
    relu: ["ReLU", (z) => Math.max(z, 0), (z) => (z > 0 ? 1 : 0)],
    leaky_relu: ["leaky ReLU", (z) => Math.max(z, 0.01 * z), (z) => (z > 0 ? 1 : 0.01)],
    elu: ["ELU", (z) => (z > 0 ? z : Math.expm1(z)), (z) => Math.exp(Math.min(z, 0))],
    selu: ["SELU", (z) => SCALE * (z > 0 ? z : ALPHA * Math.expm1(z)),
      (z) => SCALE * (z > 0 ? 1 : ALPHA * Math.exp(z))],
    gelu: ["GELU", (z) => z * below(z), (z) => below(z) + z * bell(z)],
    silu: ["SiLU", (z) => z * sigmoid(z), (z) => sigmoid(z) * (1 + z * sigmoid(-z))],
    identity: ["none (linear)", (z) => z, () => 1],
  };

  // The variances of weights and biases. PyTorch's own are uniform, all others normal.
  const variances = ({ init, gain, bias }) => ({
    weight: {
      torch: (fanIn) => 1 / (3 * fanIn),
      xavier: (fanIn, fanOut) => 2 / (fanIn + fanOut),
      he: (fanIn) => 2 / fanIn,
      normal: (fanIn) => gain ** 2 / fanIn,
    }[init],
    bias: init === "torch" ? (fanIn) => 1 / (3 * fanIn) : () => bias ** 2,
  });

  // Gauss-Legendre nodes and weights between -1 and 1: roots of the polynomial by Newton's method.
  const legendre = (count) => Array.from({ length: count }, (_, i) => {
    let x = Math.cos(Math.PI * (i + 0.75) / (count + 0.5)), slope;
    for (let step = 0; step < 8; step++) {
      let [p, before] = [x, 1];
      for (let k = 2; k <= count; k++) [p, before] = [((2 * k - 1) * x * p - (k - 1) * before) / k, p];
      slope = count * (x * p - before) / (x * x - 1);
      x -= p / slope;
    }
    return [x, 2 / ((1 - x * x) * slope * slope)];
  });
  // On z/√q from 0 to 9, and mirrored; vglib/theory.py says why these.
  const HALF = legendre(160).map(([x, w]) => [4.5 * (x + 1), 4.5 * w * bell(4.5 * (x + 1))]);
  const NODES = Float64Array.from([...HALF.map(([z]) => -z), ...HALF.map(([z]) => z)]);
  const WEIGHTS = Float64Array.from([...HALF, ...HALF].map(([, w]) => w));

  // E[φ(z)²] and E[φ′(z)²], z ~ N(0, q).
  const moments = ([, phi, slope], q) => {
    const root = Math.sqrt(q);
    let signal = 0, slopes = 0;
    for (let i = 0; i < NODES.length; i++) {
      const z = root * NODES[i];
      signal += WEIGHTS[i] * phi(z) ** 2;
      slopes += WEIGHTS[i] * slope(z) ** 2;
    }
    return [signal, slopes];
  };
  // Their logs for any q, from those on a grid of log q that fills as it is needed: a slider asks
  // for thousands. Through six points of it the polynomial is right to eight digits.
  const grids = new Map();
  const STEP = 0.1, POINTS = [-2, -1, 0, 1, 2, 3];
  const logMoments = (activation, q) => {
    if (!grids.has(activation)) grids.set(activation, new Map());
    const grid = grids.get(activation), at = Math.log(q) / STEP, first = Math.floor(at);
    const t = at - first;
    let signal = 0, slopes = 0;
    for (const k of POINTS) {
      if (!grid.has(first + k))
        grid.set(first + k, moments(activation, Math.exp((first + k) * STEP)).map(Math.log));
      const [a, b] = grid.get(first + k);
      let share = 1;
      for (const j of POINTS) if (j !== k) share *= (t - j) / (k - j);
      signal += share * a;
      slopes += share * b;
    }
    return [signal, slopes];
  };

  // log10 of RMS δ_l / RMS δ_L, layer 1 first: theory.predict_flow, which says how.
  function predict(setting, inputs) {
    const { depth } = setting, activation = ACTIVATIONS[setting.activation];
    const { weight, bias } = variances(setting);
    const gain = Math.log(WIDTH * weight(WIDTH, WIDTH)), pixels = inputs[0].length;
    const byExample = inputs.map((x) => {
      let q = weight(pixels, WIDTH) * x.reduce((sum, v) => sum + v * v, 0) + bias(pixels);
      const logs = [];
      for (let l = 0; l < depth; l++) {
        const [signal, slopes] = logMoments(activation, q);
        logs.push(l < depth - 1 ? gain + slopes : slopes);
        q = Math.exp(gain + signal) + bias(WIDTH);
      }
      for (let l = depth - 2; l >= 0; l--) logs[l] += logs[l + 1];
      return logs;
    });
    // Squares are averaged over examples, in logs: they leave the range of a number.
    const means = Array.from({ length: depth }, (_, l) => {
      const most = Math.max(...byExample.map((logs) => logs[l]));
      return most + Math.log(byExample.reduce((sum, logs) => sum + Math.exp(logs[l] - most), 0));
    });
    return means.map((mean) => (mean - means[depth - 1]) / 2 / Math.LN10);
  }

  // Random numbers between 0 and 1 from a seed: sfc32, by Chris Doty-Humphrey.
  function uniform(seed) {
    let a = 0, b = seed | 0, c = 0x9e3779b9 | 0, d = 1;
    const next = () => {
      const t = (a + b | 0) + d | 0;
      d = d + 1 | 0;
      a = b ^ b >>> 9;
      b = c + (c << 3) | 0;
      c = (c << 21 | c >>> 11) + t | 0;
      return ((t >>> 0) + 0.5) / 2 ** 32;
    };
    for (let i = 0; i < 20; i++) next();
    return next;
  }

  // The layers of a network, read-out last: weights row by row, one row for each unit.
  function network(setting, seed, pixels) {
    const random = uniform(seed), { weight, bias } = variances(setting);
    const number = setting.init === "torch"
      ? () => Math.sqrt(12) * (random() - 0.5) // of variance 1
      : () => Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
    const draw = (count, variance) =>
      Float64Array.from({ length: count }, () => Math.sqrt(variance) * number());
    return Array.from({ length: setting.depth + 1 }, (_, l) => {
      const fanIn = l ? WIDTH : pixels, fanOut = l < setting.depth ? WIDTH : CLASSES;
      return {
        weights: draw(fanIn * fanOut, weight(fanIn, fanOut)),
        biases: draw(fanOut, bias(fanIn)),
      };
    });
  }

  // RMS over units and examples of δ = ∂L/∂z in each hidden layer, layer 1 first: inputs go up,
  // the gradient of the mean cross-entropy comes down.
  function gradients(layers, name, inputs, targets) {
    const [, phi, slope] = ACTIVATIONS[name], last = layers.length - 1;
    const squares = new Float64Array(last), units = layers[0].biases.length;
    inputs.forEach((x, example) => {
      const zs = [];
      let h = x;
      for (const { weights, biases } of layers) {
        const fanIn = h.length, z = biases.map((sum, i) => {
          for (let j = 0; j < fanIn; j++) sum += weights[i * fanIn + j] * h[j];
          return sum;
        });
        zs.push(z);
        h = z.map(phi);
      }
      const most = Math.max(...zs[last]), powers = zs[last].map((z) => Math.exp(z - most));
      const sum = powers.reduce((a, b) => a + b, 0);
      let delta = powers.map((p, i) => (p / sum - (i === targets[example])) / inputs.length);
      for (let l = last - 1; l >= 0; l--) {
        const { weights } = layers[l + 1], under = new Float64Array(units);
        for (let i = 0, k = 0; i < delta.length; i++)
          for (let j = 0; j < units; j++, k++) under[j] += weights[k] * delta[i];
        for (let j = 0; j < units; j++) {
          under[j] *= slope(zs[l][j]);
          squares[l] += under[j] ** 2;
        }
        delta = under;
      }
    });
    return Array.from(squares, (sum) => Math.sqrt(sum / (units * inputs.length)));
  }

  // What `predict` predicts, in one network drawn from a seed.
  function measure(setting, seed, inputs, targets) {
    const layers = network(setting, seed, inputs[0].length);
    const rms = gradients(layers, setting.activation, inputs, targets);
    return rms.map((value) => Math.log10(value / rms[rms.length - 1]));
  }

  // A number as vglib.lesson.readable writes it: 0.235, or 1.20 × 10⁻¹⁹.
  function readable(value, digits = 3) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    if (Math.abs(exponent) < 4)
      return Number(`${mantissa}e${exponent}`).toFixed(Math.max(0, digits - 1 - exponent));
    const raised = [...String(Number(exponent))].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]));
    return `${mantissa} × 10${raised.join("")}`;
  }

  const UNITS = [[1, "metres"], [1e-2, "centimetres"], [1e-3, "millimetres"]];
  const THINGS = [[1e-3, "a grain of sand"], [1e-4, "the width of a hair"], [1e-6, "a bacterium"],
    [1e-7, "a virus"], [1e-10, "an atom"], [1e-15, "a proton"]];

  // A sentence that makes a ratio felt: vglib.figures.compared.
  function compared(ratio) {
    const length = 1000 * ratio;
    if (length > 950 && length < 1050) return "A kilometre would stay a kilometre.";
    if (length > 1000)
      return `A kilometre stretched that much would be ${readable(ratio, 2)} kilometres.`;
    const unit = UNITS.find(([size]) => length >= size);
    const said = unit
      ? `${readable(length / unit[0], 2)} ${unit[1]}`
      : `smaller than ${THINGS.filter(([size]) => size >= length).pop()[1]}`;
    return `A kilometre shrunk that much would be ${said}.`;
  }

  return { ACTIVATIONS, predict, network, gradients, measure, readable, compared };
})();
