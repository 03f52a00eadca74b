"""Settings of a run: their schema, and reading them from YAML and the command line."""

from dhrd.config.load import load_config, resolve
from dhrd.config.losses import LossSettings
from dhrd.config.schema import DataSettings, LoraSettings, ModelSettings, RunConfig, TrackingSettings, TrainingSettings
from dhrd.config.teacher import TeacherSettings

__all__ = [
    "DataSettings",
    "LoraSettings",
    "LossSettings",
    "ModelSettings",
    "RunConfig",
    "TeacherSettings",
    "TrackingSettings",
    "TrainingSettings",
    "load_config",
    "resolve",
]
