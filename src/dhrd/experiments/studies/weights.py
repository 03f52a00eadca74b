"""Table 3: the weights of the two losses."""

from dhrd.experiments.study import POOLED, STUDENT, Arm, Study


def _arm(classification: float, reasoning: float) -> Arm:
    return Arm(
        name=f"w{classification:g}_{reasoning:g}",
        title=f"classification {classification:g}, reasoning {reasoning:g}",
        settings={"loss.classification_weight": classification, "loss.reasoning_weight": reasoning},
        baselines=("pooled",),
    )


STUDY = Study(
    name="weights",
    title="Weights of the two losses (paper, Table 3)",
    question="How much does the result depend on the weights, and what does reasoning alone give?",
    # The paper's w_cls = 1 with α from 0 (pooled) to 1, and the DHRD documents' loss_weight_alpha of 0.7, 0.5, 0.3
    arms=(
        POOLED,
        *(_arm(*pair) for pair in ((1.0, 0.1), (1.0, 0.5), (1.0, 1.0), (0.7, 0.3), (0.5, 0.5), (0.3, 0.7))),
        STUDENT,
    ),
    primary=("pooled", "w1_1"),
    paper=({"what": "weight chosen for Qwen3-4B", "where": "Table 1", "value": "reasoning weight 0.5"},),
    limits=("The best of these weights was seen on the rows that are reported: to use one, choose it with `grid`.",),
)
