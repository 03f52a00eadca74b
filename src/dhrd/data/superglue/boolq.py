"""BoolQ (Clark et al., 2019): a yes/no question about a passage."""

from dhrd.data.superglue.task import Task, single_row

TASK = Task(
    name="boolq",
    folder="BoolQ",
    template="Passage: {{ passage }}\nQuestion: {{ question }}?\nIs the answer yes or no?",
    labels=("false", "true"),
    words=("no", "yes"),
    leaks=(r"(?:is|are|was|were) (?:in)?correct", r"in the (?:affirmative|negative)"),
    rows=single_row("boolq"),
)
