"""Draw every activation of the course beside its slope, all to one scale: book/drawings/slopes.

`python -m tools.slopes` writes one small SVG for each, the same bytes every time.
"""

from itertools import pairwise
from math import erf, exp, inf, log1p, pi, sqrt, tanh
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "book" / "drawings" / "slopes"
UNIT = 19  # pixels for one unit of z, of φ and of φ′
ZERO = 58  # where the axis of z stands, from the top
LEFT, RIGHT = 82, 246  # where z = 0 stands, for φ and for φ′
REACH = 4  # z runs from -4 to 4
CEILING = 2  # what is further from zero is not drawn
ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805  # of SELU


def sigmoid(z):
    return 1 / (1 + exp(-z))


def below(z):
    """The share of a standard Gaussian that lies below z."""
    return (1 + erf(z / sqrt(2))) / 2


def bell(z):
    return exp(-z * z / 2) / sqrt(2 * pi)


def power(exponent, rest):
    """e to a power, and what follows it."""
    return f'e<tspan dy="-5">{exponent}</tspan><tspan dy="5">{rest}</tspan>'


# By name: how it is written, its formula, what its slope is, in words and in the drawing; then the
# pieces that φ is made of, each from where it starts, with its slope. A piece is straight or not.
ACTIVATIONS = {
    "identity": ("identity", "z", "always 1", [(-inf, True, lambda z: z, lambda z: 1)]),
    "sigmoid": (
        "sigmoid",
        "1/(1+" + power("−z", ")"),
        "at most ¼",
        [(-inf, False, sigmoid, lambda z: sigmoid(z) * sigmoid(-z))],
    ),
    "tanh": ("tanh", "", "at most 1", [(-inf, False, tanh, lambda z: 1 - tanh(z) ** 2)]),
    "hardtanh": (
        "hard tanh",
        "−1, z or 1",
        "1 or 0",
        [
            (-inf, True, lambda z: -1, lambda z: 0),
            (-1, True, lambda z: z, lambda z: 1),
            (1, True, lambda z: 1, lambda z: 0),
        ],
    ),
    "relu": (
        "ReLU",
        "max(0, z)",
        "1 or 0",
        [(-inf, True, lambda z: 0, lambda z: 0), (0, True, lambda z: z, lambda z: 1)],
    ),
    "softplus": (
        "softplus",
        "log(1+" + power("z", ")"),
        "below 1",
        [(-inf, False, lambda z: log1p(exp(z)), sigmoid)],
    ),
    "leaky_relu": (
        "leaky ReLU",
        "0.01z if z&lt;0",
        "1 or 0.01",
        [
            (-inf, True, lambda z: 0.01 * z, lambda z: 0.01),
            (0, True, lambda z: z, lambda z: 1),
        ],
    ),
    "prelu": (
        "PReLU",
        "¼z if z&lt;0",
        "1 or ¼, learned",
        [
            (-inf, True, lambda z: z / 4, lambda z: 1 / 4),
            (0, True, lambda z: z, lambda z: 1),
        ],
    ),
    "elu": (
        "ELU",
        power("z", "−1 if z&lt;0"),
        "at most 1",
        [
            (-inf, False, lambda z: exp(z) - 1, exp),
            (0, True, lambda z: z, lambda z: 1),
        ],
    ),
    "selu": (
        "SELU",
        "1.05z if z&gt;0",
        "at most 1.76",
        [
            (-inf, False, lambda z: SCALE * ALPHA * (exp(z) - 1), lambda z: SCALE * ALPHA * exp(z)),
            (0, True, lambda z: SCALE * z, lambda z: SCALE),
        ],
    ),
    "gelu": (
        "GELU",
        "zΦ(z)",
        "at most 1.13",
        [(-inf, False, lambda z: z * below(z), lambda z: below(z) + z * bell(z))],
    ),
    "silu": (
        "SiLU",
        "zσ(z)",
        "at most 1.10",
        [
            (
                -inf,
                False,
                lambda z: z * sigmoid(z),
                lambda z: sigmoid(z) * (1 + z * sigmoid(-z)),
            )
        ],
    ),
}


def number(value):
    return f"{round(value, 1):g}"


def clip(points):
    """The points, but where the curve leaves the ceiling or the floor, the place where it does."""
    kept = []
    for (z, y), (to, end) in pairwise(points):
        low, high = sorted((y, end))
        for border in (-CEILING, CEILING):
            if low < border < high:
                kept.append((z + (to - z) * (border - y) / (end - y), border))
    inside = [(z, y) for z, y in points if abs(y) <= CEILING]
    return sorted(inside + kept)


def curve(pieces, origin):
    """The pieces ``(start, is straight, function)`` as one path; it is lifted where they jump."""
    path, last = "", None
    for i, (start, straight, function) in enumerate(pieces):
        left = max(start, -REACH)
        right = pieces[i + 1][0] if i + 1 < len(pieces) else REACH
        steps = 1 if straight else round(4 * (right - left))
        zs = [left + (right - left) * k / steps for k in range(steps + 1)]
        points = [(z, function(z)) for z in zs]
        points = clip(points)
        pixels = [(number(origin + UNIT * z), number(ZERO - UNIT * y)) for z, y in points]
        if pixels[0] == last:
            pixels = pixels[1:]
        else:
            path += "M"
        path += " ".join(",".join(p) for p in pixels) + " "
        last = pixels[-1]
    return path.strip()


def drawing(name):
    title, formula, slope, pieces = ACTIVATIONS[name]
    lines = []
    for origin in (LEFT, RIGHT):
        ends = f"M{origin - REACH * UNIT},{{}} h{2 * REACH * UNIT}"
        lines.append(
            f'<path class="axis" d="{ends.format(ZERO)} {ends.format(ZERO - UNIT)}'
            f' M{origin},{ZERO - CEILING * UNIT} V{ZERO + CEILING * UNIT}"/>'
        )
    phi = curve([(start, straight, f) for start, straight, f, _ in pieces], LEFT)
    prime = curve([(start, straight, g) for start, straight, _, g in pieces], RIGHT)
    lines += [
        f'<path class="curve" d="{phi}"/>',
        f'<path class="curve" d="{prime}"/>',
        f'<text class="b" x="6" y="15">{title}</text>',
        f'<text class="n" x="{LEFT + 6}" y="{ZERO + 18}">{formula}</text>' if formula else "",
        f'<text x="170" y="15"><tspan class="v">φ</tspan>′ {slope}</text>',
        f'<text class="n c" x="164" y="{ZERO - UNIT + 5}">1</text>',
        f'<text class="n c" x="164" y="{ZERO + 5}">0</text>',
    ]
    body = "\n".join(line for line in lines if line)
    return f"""\
<?xml-stylesheet href="../../static/drawing.css"?>
<svg xmlns="http://www.w3.org/2000/svg" class="vg-drawing" viewBox="0 0 328 98" role="img" aria-label="{title}: the curve, and beside it its slope, which is {slope}.">
{body}
</svg>
"""  # noqa: E501


def drawings():
    """Every drawing by its file's name, whose number keeps the order."""
    return {f"{k:02}-{name}.svg": drawing(name) for k, name in enumerate(ACTIVATIONS, start=1)}


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, text in drawings().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
