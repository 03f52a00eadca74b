"""Table 1 and Figure 1: the pooled baseline against DHRD."""

from dhrd.experiments.study import DHRD, LABELS_ALONE, POOLED, Arm, Study

STUDY = Study(
    name="main",
    title="Pooled baseline against DHRD (paper, Table 1 and Figure 1)",
    question="Does a classifier that also learns to write a teacher's rationales answer better than one that does not?",
    arms=(
        POOLED,
        DHRD,
        Arm(
            name="pooled_mlp",
            title="pooled baseline, mlp head",
            settings={"model.head": "mlp", **LABELS_ALONE},
            optional=True,
        ),
        Arm(
            name="dhrd_mlp",
            title="DHRD, mlp head",
            settings={"model.head": "mlp"},
            baselines=("pooled_mlp",),
            optional=True,
        ),
    ),
    primary=("pooled", "dhrd"),
    paper=(
        {"what": "average relative gain", "where": "Table 1, Llama-3.2-3B", "value": "+5.47 %"},
        {"what": "average relative gain", "where": "Table 1, Llama-3.1-8B", "value": "+1.43 %"},
        {"what": "average relative gain", "where": "Table 1, Qwen3-8B", "value": "+1.32 %"},
        {"what": "average relative gain", "where": "Table 1, Qwen3-4B (reasoning weight 0.5)", "value": "+0.65 %"},
    ),
    limits=(
        "The paper ran each setting once and gives no interval, so its gains and these cannot be set apart or equal.",
    ),
)
