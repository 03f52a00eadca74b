"""Table 2: does the rationale have to be the row's own?"""

from dhrd.experiments.study import POOLED, Arm, Study

_MODES = (
    ("label_only", "label words, no rationale"),
    ("shuffled", "another row's rationale"),
    ("shuffled_with_label", "another row's rationale and label"),
)

STUDY = Study(
    name="ablation",
    title="Alignment of rationales (paper, Table 2)",
    question="Does the gain need the row's own rationale, or would the label's words or any rationale do?",
    arms=(
        POOLED,
        Arm(name="dhrd", title="DHRD, aligned", settings={"data.rationale_mode": "aligned"}, baselines=("pooled",)),
        *(
            Arm(name=mode, title=title, settings={"data.rationale_mode": mode}, baselines=("dhrd",))
            for mode, title in _MODES
        ),
    ),
    primary=("dhrd", "shuffled"),
    paper=(
        {"what": "label_only against aligned", "where": "Table 2, Llama-3.1-8B", "value": "−1.75 %"},
        {"what": "shuffled against aligned", "where": "Table 2, Llama-3.1-8B", "value": "−5.70 %"},
        {"what": "shuffled_with_label against aligned", "where": "Table 2, Llama-3.1-8B", "value": "−48.5 %"},
    ),
)
