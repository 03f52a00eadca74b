"""What a study is asked for by name."""

from __future__ import annotations

from dhrd.experiments.study import BEST, DHRD, POOLED, Condition, Study, shuffled

STUDY = Study(
    name="s",
    title="S",
    question="?",
    arms=(POOLED, DHRD),
    primary=("pooled", "dhrd"),
    conditions=(Condition(name="few", settings={"data.train": "few.jsonl"}),),
)


def test_arms_and_conditions_are_found_by_name() -> None:
    assert STUDY.arm("dhrd") is DHRD
    assert STUDY.condition("few") is STUDY.conditions[0]
    assert STUDY.condition("cb") is None


def test_an_arms_control_differs_in_the_rationales_alone() -> None:
    control = shuffled(BEST)
    assert control.name == "best_shuffled" and control.name in BEST.baselines
    assert control.settings == {**BEST.settings, "data.rationale_mode": "shuffled"}
