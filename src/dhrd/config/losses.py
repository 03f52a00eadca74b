"""The settings of the losses."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import model_validator

from dhrd.config.section import LabelName, Positive, Section, Share, Weight

LossName = Literal["classification", "reasoning", "keyword", "privileged"]
Course = Literal["constant", "decay", "rise", "first_half", "second_half"]


class LossSettings(Section):
    """The weighted sum L = Σ weight · loss; the first two losses are the paper's (section 3)."""

    classification_weight: Weight = 1.0
    """Weight of the classification loss: the paper's β, the DHRD documents' `loss_weight_alpha`. 0: reasoning only."""
    reasoning_weight: Weight = 1.0
    """Weight of the reasoning loss: the paper's α, the DHRD documents' 1 − `loss_weight_alpha`. 0: pooled baseline."""
    keyword_weight: Weight = 0.0
    """Weight of predicting the rationale's content words, as a bag of words, from the classified vector; this does not
    run the rationale through the model."""
    privileged_weight: Weight = 0.0
    """Weight of also classifying at the end of the rationale, with the same head, and of pulling the classifier's
    answer towards the one given there: having read the rationale, the model is less easily misled by a wrong label."""
    classification_schedule: Course = "constant"
    """Schedule of `classification_weight` over the run; see `reasoning_schedule`."""
    reasoning_schedule: Course = "constant"
    """Schedule of `reasoning_weight` over the run: constant, linearly down to 0, linearly up from 0, or only in one
    half of the updates (`first_half` with `classification_schedule: second_half` learns to reason first)."""
    lm_targets: Literal["all", "continuation", "input"] = "all"
    """Tokens that the reasoning head predicts: input + rationale + answer (paper), the last two, or only the input. The
    latter needs no rationale: it is the control that separates reasoning from regularisation."""
    class_weights: Literal["balanced"] | dict[LabelName, Positive] | None = None
    """Weight of each label in the losses that learn it (classification, privileged), of which only the ratios count;
    `balanced`: inverse to its frequency in train. With `--set`, write names that contain a dot in braces:
    `loss.class_weights={"v1.0": 2, "v1.1": 1}`."""
    label_smoothing: Share = 0.0
    """Share of the label's probability to spread evenly over all labels."""

    @model_validator(mode="after")
    def _check(self) -> LossSettings:
        if self.classification_weight == 0 and self.reasoning_weight == 0:
            raise ValueError("classification_weight and reasoning_weight are both 0: there is nothing to train")
        for half, step in (("first", 1), ("second", 100)):
            if not any(self.weight_at(name, step, 100) for name in self.names):
                raise ValueError(f"with these schedules all losses have weight 0 in the {half} half of the run")
        if self.privileged_weight and self.classification_weight == 0:
            raise ValueError("privileged_weight trains the classifier, so classification_weight must be above 0")
        if self.privileged_weight and self.lm_targets == "input":
            raise ValueError("privileged_weight needs the rationale, which lm_targets: input leaves out")
        return self

    def weight(self, name: LossName) -> float:
        """A loss's weight, before its schedule."""
        return float(getattr(self, f"{name}_weight"))

    def weight_at(self, name: LossName, step: int, num_updates: int) -> float:
        """A loss's weight in update `step` (from 1) of `num_updates`."""
        course: Course = getattr(self, f"{name}_schedule", "constant")
        done = (step - 1) / num_updates
        scale = {"constant": 1.0, "decay": 1 - done, "rise": step / num_updates, "first_half": float(done < 0.5),
                 "second_half": float(done >= 0.5)}[course]  # fmt: skip
        return self.weight(name) * max(0.0, min(1.0, scale))

    @property
    def names(self) -> tuple[LossName, ...]:
        """The losses to compute: L_cls always, the others if their weight is not 0."""
        return tuple(name for name in get_args(LossName) if name == "classification" or self.weight(name))

    @property
    def runs_continuation(self) -> bool:
        """Whether training runs rationale and answer through the backbone."""
        return bool(self.privileged_weight or (self.reasoning_weight and self.lm_targets != "input"))

    @property
    def reads_rationales(self) -> bool:
        """Whether any loss uses rationales."""
        return bool(self.rationale_losses)

    @property
    def rationale_losses(self) -> tuple[LossName, ...]:
        """The losses that use rationales."""
        blind = {"classification", *(["reasoning"] if self.lm_targets == "input" else [])}
        return tuple(name for name in self.names if name not in blind)
