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
    "ExportSettings": "dhrd.export.export",
    "MissingExtra": "dhrd.errors",
    "ModelError": "dhrd.errors",
    "NonFiniteError": "dhrd.errors",
    "RunConfig": "dhrd.config",
    "SaveError": "dhrd.errors",
    "SelectionQuery": "dhrd.run.select.strategies",
    "TeacherError": "dhrd.errors",
    "UpdateSettings": "dhrd.run.update.rows",
    "UserError": "dhrd.errors",
    "audit_labels": "dhrd.run.audit.labels",
    "audit_rationales": "dhrd.rationales.audit.audit",
    "compare": "dhrd.metrics.compare",
    "configure_mlflow": "dhrd.compat.mlflow",
    "convert_rationales": "dhrd.rationales.convert",
    "decide": "dhrd.run.decide",
    "enable_autologging": "dhrd.compat.mlflow",
    "evaluate": "dhrd.run.evaluate",
    "export_classifier": "dhrd.export.export",
    "generate_rationales": "dhrd.rationales.generate",
    "label_rows": "dhrd.rationales.label",
    "load_config": "dhrd.config",
    "load_json_dataset": "dhrd.compat.dataset",
    "mlflow_run": "dhrd.compat.mlflow",
    "predict": "dhrd.run.predict.predict",
    "predict_to": "dhrd.run.predict.predict",
    "select_for_labels": "dhrd.run.select.select",
    "select_for_rationales": "dhrd.run.select.select",
    "train": "dhrd.run.train",
    "update": "dhrd.run.update.update",
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
    from dhrd.export.export import ExportSettings, export_classifier
    from dhrd.inference.cascade import CoT
    from dhrd.inference.classifier import Classifier
    from dhrd.metrics.compare import compare
    from dhrd.rationales.audit.audit import audit_rationales
    from dhrd.rationales.convert import convert_rationales
    from dhrd.rationales.generate import generate_rationales
    from dhrd.rationales.label import label_rows
    from dhrd.run.audit.labels import audit_labels
    from dhrd.run.decide import decide
    from dhrd.run.evaluate import evaluate
    from dhrd.run.predict.predict import predict, predict_to
    from dhrd.run.select.select import select_for_labels, select_for_rationales
    from dhrd.run.select.strategies import SelectionQuery
    from dhrd.run.train import train
    from dhrd.run.update.rows import UpdateSettings
    from dhrd.run.update.update import update

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
    "ExportSettings",
    "MissingExtra",
    "ModelError",
    "NonFiniteError",
    "RunConfig",
    "SaveError",
    "SelectionQuery",
    "TeacherError",
    "UpdateSettings",
    "UserError",
    "audit_labels",
    "audit_rationales",
    "compare",
    "configure_mlflow",
    "convert_rationales",
    "decide",
    "enable_autologging",
    "evaluate",
    "export_classifier",
    "generate_rationales",
    "label_rows",
    "load_config",
    "load_json_dataset",
    "mlflow_run",
    "predict",
    "predict_to",
    "select_for_labels",
    "select_for_rationales",
    "train",
    "update",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'dhrd' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
