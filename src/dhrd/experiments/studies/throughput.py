"""Table 5: queries per second of the classifier and of chain-of-thought decoding."""

from dataclasses import replace

from dhrd.experiments.study import DHRD, STUDENT, Arm, Study

_UNTUNED = Arm(
    name="cot_untuned", title="CoT, untuned backbone", read="decode", trained=False, speed=True, baselines=("dhrd",)
)
_STUDENT = replace(STUDENT, speed=True, baselines=("dhrd",))

STUDY = Study(
    name="throughput",
    title="Queries per second (paper, Table 5)",
    question="How much faster does the classifier answer than chain-of-thought decoding, and at what accuracy?",
    arms=(
        replace(DHRD, title="DHRD classifier", speed=True, baselines=()),
        _UNTUNED,
        _STUDENT,
        replace(_UNTUNED, name="cot_untuned_vllm", title="CoT, untuned, vLLM", engine="vllm", optional=True),
        replace(_STUDENT, name="cot_student_vllm", title="CoT student, vLLM", engine="vllm", optional=True),
    ),
    primary=("dhrd", "cot_student"),
    paper=(
        {"what": "pooled against CoT decoding, queries per second", "where": "Table 5", "value": "96 to 142 times"},
    ),
    limits=(
        "The ratio of queries per second measures above all how long the decoded answers are: read it with the mean "
        "number of new tokens beside it.",
    ),
)
