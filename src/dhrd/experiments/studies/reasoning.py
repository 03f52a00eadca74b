"""Beyond the paper: by which way a rationale reaches the classifier, each against the controls."""

from dataclasses import replace

from dhrd.experiments.study import (
    BEST,
    BOTTLENECK,
    DHRD,
    KEYWORDS,
    LABEL_FIRST,
    LABEL_ONLY,
    LM_ON_X,
    POOLED,
    PRIVILEGED,
    SHUFFLED,
    Study,
    shuffled,
)

_OPTIONAL = (
    LABEL_ONLY,
    LABEL_FIRST,
    BOTTLENECK,
    shuffled(BOTTLENECK),
    KEYWORDS,
    shuffled(KEYWORDS),
    PRIVILEGED,
    shuffled(PRIVILEGED),
)

STUDY = Study(
    name="reasoning",
    title="Ways in which the rationale reaches the classifier",
    question="Which way of learning from rationales beats the pooled baseline, the LM loss on the input and shuffled "
    "rationales?",
    arms=(POOLED, LM_ON_X, SHUFFLED, DHRD, BEST, shuffled(BEST), *(replace(arm, optional=True) for arm in _OPTIONAL)),
    primary=("pooled", "dhrd"),
)
