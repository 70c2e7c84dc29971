"""What a machine can see of *Put a claim to the test*: its form, and whether its sums are right."""

import random
from statistics import median

from grading.assignment import Question
from grading.judge import near, number

TITLE = "Put a claim to the test"


def inputs(code):
    """A student's own seeds; the notebook draws them in the same way."""
    first = random.Random(code).randint(1000, 9000)
    return {"seeds": [first + i for i in range(5)]}


def predict_calls(inputs, seed):
    return [[i] for i in (0, 1, 2, 0, 1, 2)]


def check_predict(answer, inputs):
    told = [one for _, one in answer]
    if not all(number(one) and one > 0 for one in told):
        return 0, "predict(i) should give one positive number for each of three settings."
    if told[:3] != told[3:]:
        return 0, "Asked twice, it gave two answers. There is no chance in a prediction."
    if len(set(told)) == 1:
        return 0, "It is the same for the first three settings. One should tell true from false."
    return 1, "Right in form."


def experiment_calls(inputs, seed):
    one, other = random.Random(seed).sample(range(10_000, 99_999), 2)
    return [[0, one], [0, other], [0, one]]


def check_experiment(answer, inputs):
    one, other, again = (told for _, told in answer)
    if not all(number(told) and told > 0 for told in (one, other, again)):
        return 0, "experiment(i, seed) should give one positive number."
    if not near(again, one, within=1e-6):
        return 0, "The same seed gave two numbers: some of the chance does not come from the seed."
    if near(other, one, within=1e-6):
        return 0, "Two seeds gave the same number: the seed is not used."
    return 1, "Right: the seed and nothing else decides."


def check_report(answer, inputs):
    rows = answer[0][1]
    if not isinstance(rows, list) or len(rows) < 3 or not all(map(_complete, rows)):
        return 0, "report() should give a list of dicts, one for each of three or more settings."
    if len({row["within"] for row in rows}) > 1 or not 1 < rows[0]["within"] <= 5:
        return 0, "One factor for all settings, above 1 and at most 5."
    for row in rows:
        if row["seeds"][:5] != inputs["seeds"]:
            return 0, "The first five seeds are to be those that belong to your code."
        if len(row["seeds"]) != len(row["measured"]):
            return 0, "Each seed should have one measured number."
        if len(set(row["measured"])) < 5:
            return 0, "Seeds differ; some of these measured numbers do not."
    summed = all(
        near(row[name], of(row["measured"]), within=0.001)
        for row in rows
        for name, of in (("median", median), ("low", min), ("high", max))
    )
    decided = all(row["answer"] == by_rule(row) for row in rows)
    words = (
        "Median and range agree with the numbers."
        if summed
        else "Median, low and high are not those of the numbers that you hand in."
    )
    words += (
        " So do the answers."
        if decided
        else " Some answer is not what the rule gives: count seeds."
    )
    return (summed + decided) / 2, words


def _complete(row):
    if not isinstance(row, dict):
        return False
    lists = all(
        isinstance(row.get(name), list) and len(row[name]) >= 5 and all(map(number, row[name]))
        for name in ("seeds", "measured")
    )
    single = all(number(row.get(name)) for name in ("predicted", "within", "median", "low", "high"))
    texts = all(isinstance(row.get(name), str) for name in ("setting", "answer"))
    return lists and single and texts and min(row["measured"]) > 0 and row["predicted"] > 0


def by_rule(row):
    """Held, failed or undecided: nine tenths of the seeds must agree."""
    due, within = row["predicted"], row["within"]
    agree = [due / within <= one <= due * within for one in row["measured"]]
    share = sum(agree) / len(agree)
    return "held" if share >= 0.9 else "failed" if share <= 0.1 else "undecided"


QUESTIONS = (
    Question("hypothesis", 3, "paragraph"),
    Question("prediction", 4, "paragraph"),
    Question("predict", 1, "function", check_predict, predict_calls),
    Question("design", 3, "paragraph"),
    Question("experiment", 1, "function", check_experiment, experiment_calls),
    Question("report", 2, "function", check_report, lambda inputs, seed: [[]]),
    Question("verdict", 4, "paragraph"),
    Question("limits", 2, "paragraph"),
)
