"""Beyond the paper: by which ways a rationale reaches the classifier, each against the controls."""

from typing import Any

from dhrd.experiments.study import (
    ALIGNMENT,
    BEST,
    BOTTLENECK,
    DHRD,
    KEYWORDS,
    LABEL_FIRST,
    LABEL_ONLY,
    LM_ON_X,
    POOLED,
    SHUFFLED,
    Arm,
    Study,
    shuffled,
)

_CONTROLS = ("pooled", "lm_on_x", "shuffled", "dhrd")


def _variant(name: str, title: str, **settings: Any) -> Arm:
    named = {key.replace("__", "."): value for key, value in settings.items()}
    return Arm(name=name, title=title, settings=named, baselines=_CONTROLS, optional=True)


_NARROW: dict[str, Any] = {"model__reasoning_bottleneck": True}
_PV_LOW: dict[str, Any] = {"loss__privileged_weight": 1.0, "loss__classification_weight": 0.2}

STUDY = Study(
    name="reasoning",
    title="Ways in which the rationale reaches the classifier",
    question="Which way of learning from rationales beats the pooled baseline, the LM loss on the input and shuffled "
    "rationales?",
    arms=(
        POOLED,
        LM_ON_X,
        LABEL_ONLY,
        SHUFFLED,
        DHRD,
        LABEL_FIRST,
        BOTTLENECK,
        shuffled(BOTTLENECK),
        KEYWORDS,
        shuffled(KEYWORDS),
        ALIGNMENT,
        BEST,
        shuffled(BEST),
        _variant("continuation", "DHRD, continuation targets", loss__lm_targets="continuation"),
        _variant("bn4", "bottleneck, 4 tokens", **_NARROW, model__bottleneck_tokens=4),
        _variant("bn_half", "bottleneck, half of the rows", **_NARROW, model__bottleneck_share=0.5),
        _variant("bn_late", "bottleneck from 30 %", **_NARROW, model__bottleneck_start=0.3),
        _variant("kw_x", "words, LM on the input", loss__lm_targets="input", loss__keyword_weight=1.0),
        _variant("kw_x3", "words x3, LM on the input", loss__lm_targets="input", loss__keyword_weight=3.0),
        _variant("kw_dhrd", "words, DHRD", loss__keyword_weight=1.0),
        _variant("kw_bn", "words, bottleneck", **_NARROW, loss__keyword_weight=1.0),
        _variant("pv", "privileged, DHRD", loss__privileged_weight=1.0),
        _variant("pv_alone", "privileged alone", loss__privileged_weight=1.0, loss__reasoning_weight=0.0),
        _variant("pv_bn", "privileged, bottleneck", **_NARROW, loss__privileged_weight=1.0),
        _variant("pv_kw", "privileged, words", loss__privileged_weight=1.0, loss__keyword_weight=1.0),
        _variant(
            "pv_low", "privileged, little direct label", loss__privileged_weight=1.0, loss__classification_weight=0.2
        ),
        _variant(
            "pv_shuffled", "privileged, DHRD, shuffled", loss__privileged_weight=1.0, data__rationale_mode="shuffled"
        ),
        _variant(
            "pv_x", "privileged x2, little direct label", loss__privileged_weight=2.0, loss__classification_weight=0.1
        ),
        _variant("pv_low_bn", "privileged, bottleneck, little direct label", **_NARROW, **_PV_LOW),
        _variant("pv_low_kw", "privileged, words, little direct label", **_PV_LOW, loss__keyword_weight=0.3),
        _variant("pv_low_alone", "privileged alone, little direct label", **_PV_LOW, loss__reasoning_weight=0.0),
        _variant(
            "pv_low_shuffled", "privileged, little direct label, shuffled", **_PV_LOW, data__rationale_mode="shuffled"
        ),
        _variant(
            "two_stage",
            "reason first, classify after",
            loss__reasoning_schedule="first_half",
            loss__classification_schedule="second_half",
        ),
        _variant("kw_two", "words first half", loss__keyword_weight=1.0, loss__reasoning_schedule="decay"),
    ),
    primary=("pooled", "dhrd"),
)
