"""Beyond the paper: the other ways to make a classifier of the same backbone."""

from dhrd.experiments.study import DHRD, POOLED, STUDENT, Arm, Study

STUDY = Study(
    name="baselines",
    title="Ways to classify with one backbone",
    question="What does the same backbone reach by the other ways that people use?",
    arms=(
        Arm(
            name="label_scores_untuned",
            title="LM head scores labels, untrained",
            read="label_scores",
            trained=False,
            baselines=("pooled",),
        ),
        Arm(
            name="label_scores",
            title="LM head scores labels, trained",
            settings={
                "loss.classification_weight": 0.0,
                "loss.reasoning_weight": 1.0,
                "loss.lm_targets": "continuation",
                "data.rationale_mode": "label_only",
            },
            read="label_scores",
            baselines=("pooled",),
        ),
        POOLED,
        DHRD,
        STUDENT,
    ),
    primary=("pooled", "dhrd"),
)
