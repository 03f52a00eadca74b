"""CommitmentBank (de Marneffe et al., 2019): does the author of the premise commit to the hypothesis?"""

from dhrd.data.superglue.task import Task, single_row

TASK = Task(
    name="cb",
    folder="CB",
    template="Premise: {{ premise }}\nHypothesis: {{ hypothesis }}\nEntailment, contradiction or neutral?",
    labels=("entailment", "contradiction", "neutral"),
    leaks=(r"entail\w*", r"contradict\w*", r"neutral\w*"),
    metrics=("macro_f1", "accuracy"),
    rows=single_row("cb"),
)
