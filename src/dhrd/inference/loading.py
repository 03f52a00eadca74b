"""The weights of an artifact: backbone and classification head."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dhrd.data.progress import no_foreign_bars
from dhrd.errors import ArtifactError
from dhrd.model.artifact import ArtifactInfo, load_head
from dhrd.model.heads import ClassificationHead
from dhrd.model.precision import choose_dtype
from dhrd.model.save import stock_class

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SCORE = "score.weight"


def check_has_classifier(directory: Path, info: ArtifactInfo) -> None:
    """Refuse an artifact of another kind.

    Raises:
        ArtifactError: It has no classifier, or none for torch.
    """
    if info.kind == "causal_lm":
        raise ArtifactError(
            f"{directory}: trained with loss.classification_weight: 0, so it has no classifier; let it reason "
            f"instead: dhrd evaluate --mode cot --model {directory}"
        )
    if info.kind == "onnx":
        raise ArtifactError(
            f"{directory}: an export for ONNX Runtime (docs/export.md); give the artifact that it was made from"
        )


def load_body_and_head(
    directory: Path, info: ArtifactInfo, dtype: str | torch.dtype | None, device: torch.device
) -> tuple[PreTrainedModel, ClassificationHead]:
    """The backbone without LM head in `dtype`, and the classification head in fp32; both on the CPU.

    Args:
        directory: The artifact.
        info: Its `dhrd.json`.
        dtype: As `choose_dtype`'s.
        device: Where they will run, for "auto".

    Raises:
        ConfigError: The dtype is unknown.
        ArtifactError: The weights are missing, damaged, or of another number of labels.
    """
    from transformers import AutoConfig, AutoModel

    try:
        config = AutoConfig.from_pretrained(directory)
        options = {"dtype": choose_dtype(dtype, device, config) or "auto", "output_loading_info": True}
        with no_foreign_bars(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if info.kind == "dhrd_classifier":
                body, loading = AutoModel.from_pretrained(directory, **options)
                head = load_head(directory, info)
            else:
                stock = stock_class(config)
                assert stock is not None
                model, loading = stock.from_pretrained(directory, **options)
                body, head = model.base_model, _stock_head(directory, model.score.weight)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(f"{directory}: the weights cannot be loaded: {str(error).splitlines()[0]}") from error
    if missing := [*loading["missing_keys"], *loading["mismatched_keys"]]:
        raise ArtifactError(f"{directory}: weights are missing or of another shape ({missing[0]}); train again")
    num_labels = head.score.weight.shape[0]
    if num_labels != len(info.labels):
        raise ArtifactError(f"{directory}: the head has {num_labels} labels, dhrd.json {len(info.labels)}; train again")
    return body, head


def _stock_head(directory: Path, loaded: Tensor) -> ClassificationHead:
    """`score` in fp32, as saved: a backbone in bf16 is no reason to round what decides between the labels."""
    num_labels, width = loaded.shape
    head = ClassificationHead(width, num_labels, dropout=0.0)
    with torch.no_grad():
        head.score.weight.copy_(loaded)
        for path in directory.glob("*.safetensors"):
            with safe_open(path, framework="pt") as file:
                if _SCORE in file.keys():  # noqa: SIM118  # it is no mapping
                    head.score.weight.copy_(file.get_tensor(_SCORE))
    return head
