"""Loading an artifact's weights: backbone and classification head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dhrd.artifact.info import SCORE, ArtifactInfo, stock_class
from dhrd.artifact.read import load_head, load_model, load_stock_config
from dhrd.errors import ArtifactError
from dhrd.model.foreign import Weights, reading
from dhrd.model.heads import ClassificationHead
from dhrd.model.precision import choose_dtype, shapes_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_body_and_head(
    directory: Path, info: ArtifactInfo, dtype: str | torch.dtype | None, device: torch.device
) -> tuple[PreTrainedModel, ClassificationHead]:
    """Load the backbone without LM head in `dtype` and the classification head in fp32, both on the CPU.

    Args:
        directory: The artifact.
        info: Its `dhrd.json`.
        dtype: See `choose_dtype`.
        device: The device on which they will run, for "auto".

    Raises:
        ConfigError: The dtype is unknown.
        ArtifactError: The weights are missing, damaged, or for a different number of labels.
    """
    from transformers import MODEL_MAPPING

    weights = Weights.of(directory)
    config = load_stock_config(directory, weights, info)
    chosen = _choose_dtype(directory, dtype, device, config, weights) or "auto"
    if info.kind == "dhrd_classifier":
        with reading(directory / "config.json", "not a known model family with a backbone"):
            kind = MODEL_MAPPING[type(config)]
        body, missing = load_model(kind, config, weights, chosen)
    else:
        model, missing = load_stock_model(directory, config, weights, chosen)
        body = model.base_model
    if missing:
        raise ArtifactError(f"{directory}: weights are missing ({min(missing)}); train again")
    head = load_classification_head(directory, info)
    with reading(directory / "config.json", "does not fit the weights"), torch.inference_mode():
        tokens = torch.zeros((1, 2), dtype=torch.long)
        head(body(input_ids=tokens, use_cache=False).last_hidden_state[:, -1])  # reveals problems that shapes do not
    return body, head


def load_classification_head(directory: Path, info: ArtifactInfo) -> ClassificationHead:
    """Load only the head, in fp32, on the CPU.

    Raises:
        ArtifactError: It is missing, damaged, or for a different number of labels.
    """
    head = load_head(directory, info) if info.kind == "dhrd_classifier" else _stock_head(Weights.of(directory))
    num_labels = head.score.weight.shape[0]
    if num_labels != len(info.labels):
        raise ArtifactError(f"{directory}: the head has {num_labels} labels, dhrd.json {len(info.labels)}; train again")
    return head


def _choose_dtype(
    directory: Path, dtype: str | torch.dtype | None, device: torch.device, config: Any, weights: Weights
) -> torch.dtype | None:
    """Like `choose_dtype`, after checking that the config's sizes, which it measures with, fit the weights."""
    with reading(directory / "config.json", "does not fit the weights"):
        sizes = [size for shape in shapes_of(config) for size in shape] if dtype == "auto" else []
        fits = all(0 < size <= weights.largest_size for size in sizes)
    return choose_dtype(dtype, device, config if fits else None)


def load_stock_model(
    directory: Path, config: Any, weights: Weights, dtype: torch.dtype | str
) -> tuple[PreTrainedModel, set[str]]:
    """Load the artifact as the family's sequence classifier, with the names of missing tensors.

    Raises:
        ArtifactError: The family has no such class, or the weights do not fit.
    """
    kind = stock_class(config)
    if kind is None:
        raise ArtifactError(f"{directory / 'config.json'}: {config.model_type} has no sequence classifier; train again")
    return load_model(kind, config, weights, dtype)


def _stock_head(weights: Weights) -> ClassificationHead:
    """`score` in fp32, as saved: even with a backbone in bf16, the head should not be rounded."""
    score = weights.load(SCORE)[SCORE]
    num_labels, width = score.shape
    head = ClassificationHead(width, num_labels, dropout=0.0)
    with torch.no_grad():
        head.score.weight.copy_(score)
    return head
