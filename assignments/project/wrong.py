"""Known-wrong answers: what people do with numbers, and the points it deserves."""

from grading.assignment import Wrong

# A report of the right form, but for the lines that are put in.
ROWS = """
rows = []
for i, numbers in enumerate(measured):
    due = predict(i)
    agree = [due / within <= one <= due * within for one in numbers]
    share = sum(agree) / len(agree)
    word = "held" if share >= 0.9 else "failed" if share <= 0.1 else "undecided"
    row = {"setting": settings[i], "seeds": seeds, "measured": numbers}
    row |= {"predicted": due, "within": within, "median": median(numbers)}
    row |= {"low": min(numbers), "high": max(numbers), "answer": word}
    MISTAKE
    rows.append(row)
return rows
"""


def reported(mistake):
    return ROWS.replace("MISTAKE", mistake)


WRONG = (
    Wrong(
        "a prediction that is the same whatever happens",
        "predict",
        "return 1.0",
        0,
        ("report",),
    ),
    Wrong(
        "a prediction that looks at a run first",
        "predict",
        "return float(torch.rand(())) + i",
        0,
        ("report",),
    ),
    Wrong(
        "one seed for all runs, so that results can be repeated",
        "experiment",
        """
torch.manual_seed(0)
return float(torch.randn(5, 5).norm()) * (i + 1)
""",
        0,
        ("report",),
    ),
    Wrong(
        "no seed: chance is chance",
        "experiment",
        "return float(torch.randn(5, 5).norm()) * (i + 1)",
        0,
    ),
    Wrong(
        "the mean for the median",
        "report",
        reported('row["median"] = sum(numbers) / len(numbers)'),
        1,
    ),
    Wrong(
        "a standard deviation for the range",
        "report",
        reported('row["low"] = median(numbers) - float(torch.tensor(numbers).std())'),
        1,
    ),
    Wrong(
        "one run that agrees is enough",
        "report",
        reported('row["predicted"], row["answer"] = min(numbers) * 1.0001 / within, "held"'),
        1,
    ),
    Wrong(
        "the lucky seeds: the largest five of fifty",
        "report",
        reported('row["seeds"] = [seed + 17 for seed in seeds]'),
        0,
    ),
    Wrong(
        "one run, written down for each seed",
        "report",
        reported('row["measured"] = numbers[:1] * 5'),
        0,
    ),
    Wrong(
        "a rule so wide that nothing can fail",
        "report",
        reported('row["within"], row["answer"] = 1000.0, "held"'),
        0,
    ),
    Wrong(
        "two settings are enough",
        "report",
        reported("row").replace("return rows", "return rows[:2]"),
        0,
    ),
)
