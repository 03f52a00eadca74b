"""A run: its sections, and what must hold between them.

The models are frozen and refuse unknown keys. `dhrd config schema` prints them as JSON schema, `dhrd config show`
prints the resolved values. Reading and overriding is `config/load.py`.
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
    """One training run. See the sections for the fields; `configs/` holds presets."""

    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    loss: LossSettings = LossSettings()
    training: TrainingSettings = TrainingSettings()
    tracking: TrackingSettings = TrackingSettings()
    teacher: TeacherSettings = TeacherSettings()
    tasks: Tasks = None
    """Several tasks by name, each with `column`, `labels`, `weight`, `multi_label`; null: the one that `data` has."""
    output_dir: FileName = "output"
    """The artifact is written here, checkpoints/ below it while training."""
    seed: Seed = 0
    """Decides the first weights of the head and of a `scratch:` backbone, the order of rows, dropout and the shuffles
    of `rationale_mode`."""

    @property
    def chooses(self) -> bool:
        """Whether evaluations during training choose the weights, or when it ends."""
        return self.training.selection == "best" or self.training.patience is not None

    def check_choices(self, *, has_validation: bool) -> None:
        """Before training: are there rows for the choices that are asked for?

        Args:
            has_validation: Whether there are validation rows, named here or given in Python.

        Raises:
            ConfigError: There are none.
        """
        training = self.training
        if has_validation or self.data.dev_share:
            return
        if self.chooses:
            raise ConfigError(
                "training.selection: best and training.patience need rows to choose by: set data.dev_share (say 0.1) "
                "or data.validation"
            )
        if training.calibrate:
            raise ConfigError(
                "training.calibrate needs rows to fit the temperature on: set data.dev_share (say 0.1) or "
                "data.validation"
            )

    @model_validator(mode="after")
    def _check(self) -> RunConfig:
        if self.loss.classification_weight == 0 and self.chooses:
            raise ValueError(
                "with loss.classification_weight: 0 there is no classifier to select by; use selection: last"
            )
        needing = [name for name in self.loss.rationale_losses if name != "reasoning"]
        if needing and self.data.rationale_mode == "label_only":
            raise ValueError(
                f"loss.{needing[0]}_weight needs rationales, which data.rationale_mode: label_only leaves out"
            )
        if self.training.calibrate and self.loss.classification_weight == 0:
            raise ValueError("with loss.classification_weight: 0 there is no classifier; leave out training.calibrate")
        if self.training.cache_frozen and not self.model.freeze_layers:
            raise ValueError("training.cache_frozen keeps what frozen layers give: set model.freeze_layers as well")
        data = self.data
        check_alone(self.tasks, data.labels, data.multi_label, "label" in data.columns, self.model.num_labels)
        return self
