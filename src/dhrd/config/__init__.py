"""Settings of a run: their schema, and reading them from YAML and the command line."""

from dhrd.config.data import DataSettings
from dhrd.config.load import load_config, resolve
from dhrd.config.losses import LossSettings
from dhrd.config.model import LoraSettings, ModelSettings
from dhrd.config.schema import RunConfig
from dhrd.config.teacher import TeacherSettings
from dhrd.config.tracking import TrackingSettings
from dhrd.config.training import TrainingSettings

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
