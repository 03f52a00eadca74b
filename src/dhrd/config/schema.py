"""The settings of a run: its sections, and the constraints between them.

The models are frozen and reject unknown keys. `dhrd config schema` prints them as JSON schema, `dhrd config show`
prints the resolved values. Reading and overriding is in `config/load.py`.
"""

from __future__ import annotations

from pydantic import model_validator

from dhrd.config.data import DataSettings
from dhrd.config.losses import LossSettings
from dhrd.config.model import ModelSettings
from dhrd.config.section import FileName, Section, Seed
from dhrd.config.tasks import Tasks, check_alone
from dhrd.config.teacher import TeacherSettings
from dhrd.config.tracking import TrackingSettings
from dhrd.config.training import TrainingSettings
from dhrd.errors import ConfigError


class RunConfig(Section):
    """The settings of one training run; `configs/` has presets."""

    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    loss: LossSettings = LossSettings()
    training: TrainingSettings = TrainingSettings()
    tracking: TrackingSettings = TrackingSettings()
    teacher: TeacherSettings = TeacherSettings()
    tasks: Tasks = None
    """Several tasks by name, each with `column`, `labels`, `weight`, `multi_label`; null: a single task as in
    `data`."""
    output_dir: FileName = "output"
    """Directory for the artifact and, during training, checkpoints/."""
    seed: Seed = 0
    """Seed of all randomness: the initial weights of the head and of a `scratch:` backbone, the order of rows, dropout,
    samples of rows and the shuffles of `rationale_mode`."""

    @property
    def chooses(self) -> bool:
        """Whether evaluations during training choose the weights or when to stop."""
        return self.training.selection == "best" or self.training.patience is not None

    def check_choices(self, *, has_validation: bool) -> None:
        """Check that there are rows for the choices that the settings ask for.

        Args:
            has_validation: Whether there are validation rows, from the settings or passed in Python.

        Raises:
            ConfigError: There are no such rows.
        """
        training = self.training
        if has_validation or self.data.dev_share:
            return
        if self.chooses:
            raise ConfigError(
                "training.selection: best and training.patience need held-out rows: set data.dev_share (say 0.1) "
                "or data.validation"
            )
        if training.calibrate:
            raise ConfigError(
                "training.calibrate needs held-out rows to fit the temperature on: set data.dev_share (say 0.1) or "
                "data.validation"
            )

    @model_validator(mode="after")
    def _check(self) -> RunConfig:
        if self.loss.classification_weight == 0 and self.chooses:
            raise ValueError(
                "with loss.classification_weight: 0 there is no classifier to choose weights by; use selection: last"
            )
        needing = [name for name in self.loss.rationale_losses if name != "reasoning"]
        if needing and self.data.rationale_mode == "label_only":
            raise ValueError(
                f"loss.{needing[0]}_weight needs rationales, which data.rationale_mode: label_only leaves out"
            )
        if self.training.calibrate and self.loss.classification_weight == 0:
            raise ValueError("with loss.classification_weight: 0 there is no classifier; leave out training.calibrate")
        if self.training.cache_frozen and not self.model.freeze_layers:
            raise ValueError(
                "training.cache_frozen caches the output of frozen layers: set model.freeze_layers as well"
            )
        data = self.data
        check_alone(self.tasks, data.labels, data.multi_label, "label" in data.columns, self.model.num_labels)
        return self
