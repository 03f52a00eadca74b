"""The settings of the losses, by name."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import model_validator

from dhrd.config.section import LabelName, Positive, Section, Share, Weight

LossName = Literal["classification", "reasoning", "keyword", "privileged"]
Course = Literal["constant", "decay", "rise", "first_half", "second_half"]


class LossSettings(Section):
    """L = Σ weight · loss over the losses by name; the first two are the paper's (section 3)."""

    classification_weight: Weight = 1.0
    """The paper's β; the DHRD documents' `loss_weight_alpha`. 0: reasoning-only student."""
    reasoning_weight: Weight = 1.0
    """The paper's α; the DHRD documents' 1 − `loss_weight_alpha`. 0: pooled baseline."""
    keyword_weight: Weight = 0.0
    """Weight of predicting the rationale's content words, a bag, from the classified vector; no token of the
    rationale is run for it."""
    privileged_weight: Weight = 0.0
    """Weight of classifying at the rationale's end too, with the same head, and of drawing the classifier's answer to
    what is answered there: a reader of the rationale is less easily misled by a wrong label."""
    classification_schedule: Course = "constant"
    """Course of `classification_weight` over the run, as `reasoning_schedule`."""
    reasoning_schedule: Course = "constant"
    """Course of `reasoning_weight` over the run: as it is, linearly down to 0, linearly up from 0, or in one half of
    the updates only (`reasoning_schedule: first_half` with `classification_schedule: second_half`: reason first)."""
    lm_targets: Literal["all", "continuation", "input"] = "all"
    """Which tokens the reasoning head predicts: input + rationale + answer (paper), the last two, or the input alone,
    which needs no rationale: the control that tells reasoning from regularisation."""
    class_weights: Literal["balanced"] | dict[LabelName, Positive] | None = None
    """Weight of each label in L_cls; `balanced`: inverse to its frequency in train. With `--set` a name that has a dot
    goes in braces: `loss.class_weights={"v1.0": 2, "v1.1": 1}`."""
    label_smoothing: Share = 0.0
    """Share of the label's probability that is spread over all labels."""

    @model_validator(mode="after")
    def _check(self) -> LossSettings:
        if self.classification_weight == 0 and self.reasoning_weight == 0:
            raise ValueError("classification_weight and reasoning_weight are both 0: there is nothing to train")
        for half, step in (("first", 1), ("second", 100)):
            if not any(self.weight_at(name, step, 100) for name in self.names):
                raise ValueError(f"with these schedules no loss weighs anything in the {half} half of the run")
        if self.privileged_weight and self.classification_weight == 0:
            raise ValueError("privileged_weight teaches the classifier, which classification_weight: 0 leaves out")
        if self.privileged_weight and self.lm_targets == "input":
            raise ValueError("privileged_weight needs the rationale, which lm_targets: input does not run")
        return self

    def weight(self, name: LossName) -> float:
        """A loss's weight, before its schedule."""
        return float(getattr(self, f"{name}_weight"))

    def weight_at(self, name: LossName, step: int, num_updates: int) -> float:
        """A loss's weight in the `step`-th of `num_updates` updates, counted from 1."""
        course: Course = getattr(self, f"{name}_schedule", "constant")
        done = (step - 1) / num_updates
        scale = {"constant": 1.0, "decay": 1 - done, "rise": step / num_updates, "first_half": float(done < 0.5),
                 "second_half": float(done >= 0.5)}[course]  # fmt: skip
        return self.weight(name) * max(0.0, min(1.0, scale))

    @property
    def names(self) -> tuple[LossName, ...]:
        """The losses that are computed: L_cls always, the others where they weigh anything."""
        return tuple(name for name in get_args(LossName) if name == "classification" or self.weight(name))

    @property
    def runs_continuation(self) -> bool:
        """Whether rationale and answer are run through the backbone in training."""
        return bool(self.privileged_weight or (self.reasoning_weight and self.lm_targets != "input"))

    @property
    def reads_rationales(self) -> bool:
        """Whether any loss looks at rationales."""
        return bool(self.rationale_losses)

    @property
    def rationale_losses(self) -> tuple[LossName, ...]:
        """The losses that look at rationales."""
        blind = {"classification", *(["reasoning"] if self.lm_targets == "input" else [])}
        return tuple(name for name in self.names if name not in blind)
