"""The weights of an artifact: backbone and classification head."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from torch import nn

from dhrd.data.progress import no_foreign_bars
from dhrd.errors import ArtifactError
from dhrd.model.artifact import ArtifactInfo, load_head
from dhrd.model.save import stock_class

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_body_and_head(
    directory: Path, info: ArtifactInfo, dtype: torch.dtype | None
) -> tuple[PreTrainedModel, nn.Module]:
    """The backbone without LM head, and the classification head.

    Raises:
        ArtifactError: The weights are missing, damaged, or of another number of labels.
    """
    from transformers import AutoConfig, AutoModel

    options = {"dtype": dtype or "auto", "output_loading_info": True}
    try:
        with warnings.catch_warnings(), no_foreign_bars():
            warnings.simplefilter("ignore")
            if info.kind == "dhrd_classifier":
                body, loading = AutoModel.from_pretrained(directory, **options)
                found = load_head(directory, info)
                head: nn.Module = found
                num_labels = found.score.weight.shape[0]
            else:
                stock = stock_class(AutoConfig.from_pretrained(directory))
                assert stock is not None
                model, loading = stock.from_pretrained(directory, **options)
                body, head = model.base_model, model.score
                num_labels = int(model.num_labels)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(f"{directory}: the weights cannot be loaded: {str(error).splitlines()[0]}") from error
    if missing := [*loading["missing_keys"], *loading["mismatched_keys"]]:
        raise ArtifactError(f"{directory}: weights are missing or of another shape ({missing[0]}); train again")
    if num_labels != len(info.labels):
        raise ArtifactError(f"{directory}: the head has {num_labels} labels, dhrd.json {len(info.labels)}; train again")
    return body, head
