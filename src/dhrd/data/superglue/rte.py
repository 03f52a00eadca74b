"""RTE (Dagan et al., 2006, and later rounds): does the premise entail the hypothesis?"""

from dhrd.data.superglue.task import Task, single_row

TASK = Task(
    name="rte",
    folder="RTE",
    template="Premise: {{ premise }}\nHypothesis: {{ hypothesis }}\nDoes the premise entail the hypothesis?",
    labels=("entailment", "not_entailment"),
    words=("entailment", "not entailment"),
    leaks=(r"(?:not )?entail\w*", r"contradict\w*"),
    rows=single_row("rte"),
)
