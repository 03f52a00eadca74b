"""COPA (Roemmele et al., 2011): which of two choices is the cause or the effect of the premise?"""

from dhrd.data.superglue.task import Task, single_row

TASK = Task(
    name="copa",
    folder="COPA",
    template=(
        "Premise: {{ premise }}\nChoice 1: {{ choice1 }}\nChoice 2: {{ choice2 }}\n"
        "Which choice is the {{ question }} of the premise?"
    ),
    labels=("choice1", "choice2"),
    words=("choice 1", "choice 2"),
    leaks=(
        r"(?:choice|option|alternative|answer)\s*#?(?:[12ab]|one|two)",
        r"(?:first|second|former|latter) (?:choice|option|alternative|answer)",
    ),
    rows=single_row("copa"),
)
