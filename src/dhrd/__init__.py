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
    "ColumnError": "dhrd.errors",
    "ConfigError": "dhrd.errors",
    "DHRDDataset": "dhrd.compat.dataset",
    "DHRDEvaluator": "dhrd.compat.evaluator",
    "DHRDTrainer": "dhrd.compat.trainer",
    "DataError": "dhrd.errors",
    "DhrdError": "dhrd.errors",
    "DualHeadReasoningModel": "dhrd.compat.model",
    "Evaluation": "dhrd.evaluation.evaluate",
    "Example": "dhrd.data.records",
    "MissingExtra": "dhrd.errors",
    "ModelError": "dhrd.errors",
    "NonFiniteError": "dhrd.errors",
    "RunConfig": "dhrd.config",
    "SaveError": "dhrd.errors",
    "TeacherError": "dhrd.errors",
    "UserError": "dhrd.errors",
    "audit_rationales": "dhrd.rationales.audit.audit",
    "compare": "dhrd.metrics.compare",
    "configure_mlflow": "dhrd.compat.mlflow",
    "convert_rationales": "dhrd.rationales.convert",
    "enable_autologging": "dhrd.compat.mlflow",
    "evaluate": "dhrd.run.evaluate",
    "generate_rationales": "dhrd.rationales.generate",
    "label_rows": "dhrd.rationales.label",
    "load_config": "dhrd.config",
    "load_json_dataset": "dhrd.compat.dataset",
    "mlflow_run": "dhrd.compat.mlflow",
    "predict": "dhrd.run.predict.predict",
    "train": "dhrd.run.train",
}

if TYPE_CHECKING:
    from dhrd.compat.dataset import DHRDDataset, load_json_dataset
    from dhrd.compat.evaluator import DHRDEvaluator
    from dhrd.compat.mlflow import configure_mlflow, enable_autologging, mlflow_run
    from dhrd.compat.model import DualHeadReasoningModel
    from dhrd.compat.trainer import DHRDTrainer
    from dhrd.config import RunConfig, load_config
    from dhrd.data.records import Example
    from dhrd.errors import (
        ArtifactError,
        CheckpointError,
        ColumnError,
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
    from dhrd.evaluation.evaluate import Evaluation
    from dhrd.inference.cascade import CoT
    from dhrd.inference.classifier import Classifier
    from dhrd.metrics.compare import compare
    from dhrd.rationales.audit.audit import audit_rationales
    from dhrd.rationales.convert import convert_rationales
    from dhrd.rationales.generate import generate_rationales
    from dhrd.rationales.label import label_rows
    from dhrd.run.evaluate import evaluate
    from dhrd.run.predict.predict import predict
    from dhrd.run.train import train

__all__ = [
    "ArtifactError",
    "CheckpointError",
    "Classifier",
    "CoT",
    "ColumnError",
    "ConfigError",
    "DHRDDataset",
    "DHRDEvaluator",
    "DHRDTrainer",
    "DataError",
    "DhrdError",
    "DualHeadReasoningModel",
    "Evaluation",
    "Example",
    "MissingExtra",
    "ModelError",
    "NonFiniteError",
    "RunConfig",
    "SaveError",
    "TeacherError",
    "UserError",
    "audit_rationales",
    "compare",
    "configure_mlflow",
    "convert_rationales",
    "enable_autologging",
    "evaluate",
    "generate_rationales",
    "label_rows",
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
