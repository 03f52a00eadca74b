"""Dual-Head Reasoning Distillation (arXiv 2509.21487).

Train a decoder-only language model as a classifier that learns from a teacher's reasoning and answers in one forward
pass. Importing this package defines names and imports nothing else; torch is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "ArtifactError": "dhrd.errors",
    "CheckpointError": "dhrd.errors",
    "Classifier": "dhrd.inference.classifier",
    "CoT": "dhrd.inference.cascade",
    "ConfigError": "dhrd.errors",
    "DHRDDataset": "dhrd.data.dataset",
    "DHRDEvaluator": "dhrd.evaluation.evaluate",
    "DHRDTrainer": "dhrd.documents",
    "DataError": "dhrd.errors",
    "DhrdError": "dhrd.errors",
    "DualHeadReasoningModel": "dhrd.model.dual_head",
    "Example": "dhrd.data.records",
    "MissingExtra": "dhrd.errors",
    "ModelError": "dhrd.errors",
    "NonFiniteError": "dhrd.errors",
    "RunConfig": "dhrd.config",
    "SaveError": "dhrd.errors",
    "TeacherError": "dhrd.errors",
    "UserError": "dhrd.errors",
    "audit_rationales": "dhrd.teacher.audit.audit",
    "configure_mlflow": "dhrd.training.trackers",
    "convert_rationales": "dhrd.teacher.convert",
    "enable_autologging": "dhrd.training.trackers",
    "evaluate": "dhrd.run",
    "generate_rationales": "dhrd.teacher.generate",
    "load_config": "dhrd.config",
    "load_json_dataset": "dhrd.data.dataset",
    "mlflow_run": "dhrd.training.trackers",
    "predict": "dhrd.run",
    "train": "dhrd.run",
}

if TYPE_CHECKING:
    from dhrd.config import RunConfig, load_config
    from dhrd.data.dataset import DHRDDataset, load_json_dataset
    from dhrd.data.records import Example
    from dhrd.documents import DHRDTrainer
    from dhrd.errors import (
        ArtifactError,
        CheckpointError,
        ConfigError,
        DataError,
        DhrdError,
        MissingExtra,
        ModelError,
        NonFiniteError,
        SaveError,
        TeacherError,
        UserError,
    )
    from dhrd.evaluation.evaluate import DHRDEvaluator
    from dhrd.inference.cascade import CoT
    from dhrd.inference.classifier import Classifier
    from dhrd.model.dual_head import DualHeadReasoningModel
    from dhrd.run import evaluate, predict, train
    from dhrd.teacher.audit.audit import audit_rationales
    from dhrd.teacher.convert import convert_rationales
    from dhrd.teacher.generate import generate_rationales
    from dhrd.training.trackers import configure_mlflow, enable_autologging, mlflow_run

__all__ = [
    "ArtifactError",
    "CheckpointError",
    "Classifier",
    "CoT",
    "ConfigError",
    "DHRDDataset",
    "DHRDEvaluator",
    "DHRDTrainer",
    "DataError",
    "DhrdError",
    "DualHeadReasoningModel",
    "Example",
    "MissingExtra",
    "ModelError",
    "NonFiniteError",
    "RunConfig",
    "SaveError",
    "TeacherError",
    "UserError",
    "audit_rationales",
    "configure_mlflow",
    "convert_rationales",
    "enable_autologging",
    "evaluate",
    "generate_rationales",
    "load_config",
    "load_json_dataset",
    "mlflow_run",
    "predict",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'dhrd' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
