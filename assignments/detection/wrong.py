"""Known-wrong answers: what people believe, and the points it deserves."""

from grading.assignment import Wrong

WRONG = (
    Wrong(
        "the gradients of the weight matrices, as everybody logs them",
        "look",
        """
(factor * cross_entropy(net(x), y)).backward()
grads = [part.weight.grad for part in net if isinstance(part, nn.Linear)]
return [float(grad.square().mean().sqrt()) for grad in grads[:-1]]
""",
        0,
        ("verdicts", "mend", "level", "alarm_factor"),
    ),
    Wrong(
        "the gradient behind the activation in place of δ",
        "look",
        """
kept, h = [], x
for part in net:
    h = part(h)
    if isinstance(part, nn.ReLU):
        h.retain_grad()
        kept.append(h)
(factor * cross_entropy(h, y)).backward()
return [float(one.grad.square().mean().sqrt()) for one in kept]
""",
        0,
        ("verdicts", "mend"),
    ),
    Wrong(
        "the read-out counted as a layer",
        "look",
        """
kept = []


def keep(layer, inputs, output):
    output.retain_grad()
    kept.append(output)
    return output.clone()


for part in net:
    if isinstance(part, nn.Linear):
        part.register_forward_hook(keep)
(factor * cross_entropy(net(x), y)).backward()
return [float(z.grad.square().mean().sqrt()) for z in kept]
""",
        0,
        ("verdicts", "mend"),
    ),
    Wrong(
        "dead is the share of zeros in a layer",
        "dead_share",
        "return float((z <= 0).double().mean())",
        0,
        ("verdicts", "mend", "level", "alarm_factor"),
    ),
    Wrong(
        "tiny gradients mean vanishing gradients",
        "verdicts",
        """
findings = []
for weights, biases, readout, factor in patients.values():
    delta = look(weights, biases, readout, factor, x, y)
    dead = [float((bias < -10).double().mean()) for bias in biases]
    if max(dead) > 0.7:
        findings.append("dead")
    elif max(up / down for down, up in pairwise(delta)) > 20:
        findings.append("one layer")
    else:
        findings.append("every layer" if min(delta) < 1e-7 else "fine")
verdicts = ", ".join(findings)
""",
        1,
        ("level", "alarm_factor"),
    ),
    Wrong(
        "the layer that starves first is the one that is ill",
        "mend",
        """
mend = [0, 0]
for found, (weights, biases, readout, factor) in zip(findings, patients.values()):
    delta = look(weights, biases, readout, factor, x, y)
    if found == "one layer":
        mend[0] = max(k + 1 for k, one in enumerate(delta) if one <= delta[-1] / 10)
    if found == "dead":
        mend[1] = 1 + max(range(depth), key=lambda k: (biases[k] < 0).sum().item())
""",
        1,
    ),
    Wrong(
        "weight gradients fall as δ does",
        "level",
        """
weights, biases, readout, factor = patients["ABCD"[findings.index("every layer")]]
net = assemble(weights, biases, readout)
(factor * cross_entropy(net(x), y)).backward()
grads = [part.weight.grad for part in net if isinstance(part, nn.Linear)]
delta = look(weights, biases, readout, factor, x, y)
level = delta[0] / delta[-1]
""",
        0,
    ),
    Wrong(
        "a starved network sets off the alarm as it is",
        "alarm_factor",
        "alarm_factor = 1.0",
        0,
    ),
    Wrong(
        "the alarm by δ at layer 1 in place of parameters",
        "alarm_factor",
        "alarm_factor = 1e-7 / min(look(weights, biases, readout, factor, x, y))",
        0,
    ),
    Wrong(
        "a threshold on the size tells it",
        "shape_of",
        """
if delta.min() < 1e-7:
    return "starved"
if delta.max() > 1e2:
    return "exploding"
return "small" if step.max() < 1e-5 else "fed"
""",
        0,
    ),
    Wrong(
        "only layer 1 can starve",
        "shape_of",
        """
if delta[0] <= delta[-1] * 0.1:
    return "starved"
if delta[0] >= delta[-1] * 10:
    return "exploding"
return "small" if step.max() < 1e-5 else "fed"
""",
        1.5,
    ),
)
