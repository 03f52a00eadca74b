"""Writing a trained model as an artifact.

It is written to a temporary directory below and moved file by file; `dhrd.json` is removed first and moved last, so a
directory without it is unfinished.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from dhrd._files import RESUME, saving, write_json, writing, writing_directory
from dhrd._loading import no_foreign_bars
from dhrd.artifact.digests import HEAD, LABELS, PARTS, file_digests, names_digest
from dhrd.artifact.info import MANIFEST, SCORE, ArtifactInfo, Kind, read_info, stock_class, to_manifest
from dhrd.artifact.known_rows import CHOSEN, DECIDED, KNOWN, write_digests
from dhrd.data.records import LabelSet
from dhrd.decisions.decision import Decision
from dhrd.errors import ModelError
from dhrd.model.adapters import adapter_state, merged_state
from dhrd.model.dual_head import DualHeadModel
from dhrd.model.fit import REASONING_HEAD, lm_head_names

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


_STALE = (
    *("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"),
    *(HEAD, REASONING_HEAD, *KNOWN, "chat_template.jinja"),
    *("adapter/adapter_config.json", "adapter/adapter_model.safetensors", "adapter/README.md"),
)
"""Files of an older artifact in the same directory that would be mistaken for parts of the new one."""


def kind_of(model: DualHeadModel) -> Kind:
    """The kind of artifact that a model becomes."""
    if model.loss_settings.classification_weight == 0:
        return "causal_lm"
    stock = model.settings.head == "linear" and model.settings.pooling == "last"
    return "sequence_classifier" if stock else "dhrd_classifier"


def _has_stock_head(config: Any) -> bool:
    """Whether the family has a sequence classifier that adds only `score.weight` to the body."""
    cls = stock_class(config)
    if cls is None:
        return False
    with torch.device("meta"):
        names = cls(copy.deepcopy(config)).state_dict()
    return [name for name in names if not name.startswith(f"{cls.base_model_prefix}.")] == [SCORE]


def check_can_be_saved(model: DualHeadModel) -> str | None:
    """Check before training that a model can be saved as an artifact.

    Returns:
        A message for the user if the artifact will not be a stock classifier, else None.

    Raises:
        ModelError: The family has no sequence-classification class, so no stock classifier can be written.
    """
    kind, config = kind_of(model), model.causal_lm.config
    if kind == "sequence_classifier" and not _has_stock_head(config):
        raise ModelError(
            f"transformers has no sequence classifier for {type(config).__name__}; set model.head: mlp or "
            "model.pooling: mean (loadable only by dhrd), or use another backbone"
        )
    if kind == "dhrd_classifier":
        return (
            f"model.head: {model.settings.head} with model.pooling: {model.settings.pooling} is not a stock "
            "classifier: the artifact can be loaded by dhrd, but not by AutoModelForSequenceClassification or vLLM"
        )
    if kind == "causal_lm":
        return "loss.classification_weight: 0 trains no classifier: the artifact is a causal language model"
    return None


def save_artifact(
    directory: Path,
    model: DualHeadModel,
    info: ArtifactInfo,
    *,
    card: str = "",
    run: Mapping[str, Any] | None = None,
    known: Mapping[str, Iterable[str]] | None = None,
) -> None:
    """Write a trained model as an artifact, without changing the model.

    Args:
        directory: Created if absent; other files in it are kept.
        model: The trained model.
        info: Becomes `dhrd.json`.
        card: README.md, the model card.
        run: run.json: resolved config, seeds, versions.
        known: The digests of rows that the model was trained on, and of those that it was chosen on, by the names of
            their files (`KNOWN`).

    Raises:
        SaveError: A write failed; an existing artifact is intact unless its files were already being replaced.
    """
    with (
        saving(f"the artifact {directory}", RESUME),
        writing_directory(directory, last=MANIFEST, stale=_STALE) as partial,
    ):
        _write_weights(partial, model, info)
        _write_tokenizer(partial, model.tokenizer, info)
        digests = {LABELS: names_digest(info.labels.names), **file_digests(partial, PARTS)}
        (partial / "README.md").write_text(card, encoding="utf-8")
        write_json(partial / "run.json", dict(run or {}))
        for name, rows in (known or {}).items():
            write_digests(partial / name, rows)
        write_json(partial / MANIFEST, to_manifest(info.model_copy(update={"digests": digests})))


def write_decision(directory: Path, decision: Decision | None, digests: Iterable[str] = ()) -> None:
    """Set an existing artifact's decision, or remove it with None; nothing else is changed.

    Args:
        digests: Those of the rows that it was chosen on.

    Raises:
        ArtifactError: The directory is not an artifact.
        SaveError: A file cannot be written.
    """
    info = read_info(directory)
    if decision is not None:
        write_digests(directory / DECIDED, digests)
    else:
        with saving(f"{directory / DECIDED}"):
            (directory / DECIDED).unlink(missing_ok=True)
    _write_info(directory, info.model_copy(update={"decision": decision}))


def write_training(directory: Path, *, chosen: Iterable[str], **fields: object) -> None:
    """Set fields of an existing artifact's `TrainingSummary`; nothing else is changed.

    Args:
        chosen: The digests of the rows that it was chosen on.

    Raises:
        ArtifactError: The directory is not an artifact.
        SaveError: A file cannot be written.
    """
    info = read_info(directory)
    write_digests(directory / CHOSEN, chosen)
    _write_info(directory, info.model_copy(update={"training": {**info.training, **fields}}))


def _write_info(directory: Path, info: ArtifactInfo) -> None:
    with writing(directory / MANIFEST) as file:
        file.json(to_manifest(info))


def _write_weights(partial: Path, model: DualHeadModel, info: ArtifactInfo) -> None:
    dtype = getattr(torch, model.settings.dtype or "float32")
    config = copy.deepcopy(model.causal_lm.config)
    config.use_cache = True
    config.dtype = dtype
    # A backbone passed by the caller may not have it; a composite one's classifier reads its text part's.
    config.pad_token_id = config.get_text_config().pad_token_id = model.tokenizer.pad_token_id
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    state = {name: _plain(tensor, dtype) for name, tensor in merged_state(model.causal_lm).items()}
    lm_head = {name: state.pop(name) for name in lm_head_names(model.causal_lm)}
    if model.causal_lm.get_output_embeddings().weight is model.causal_lm.get_input_embeddings().weight:  # tied
        lm_head = {}
    if info.kind == "sequence_classifier":
        cls = stock_class(config)
        assert cls is not None  # checked before training
        state[SCORE] = _plain(model.head.score.weight, dtype)
        _label_config(config, info.labels)
        _save_stock(partial, cls, config, state)
        _complete_config(partial / "config.json", config, info.labels)
    elif info.kind == "causal_lm":
        _save_stock(partial, type(model.causal_lm), config, state | lm_head)
        lm_head = {}
    else:
        body = model.causal_lm.base_model
        prefix = model.causal_lm.base_model_prefix + "."
        body_state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
        _save_stock(partial, type(body), body.config.__class__.from_dict(config.to_dict()), body_state)
        head = {name: _plain(tensor, torch.float32) for name, tensor in model.head.state_dict().items()}
        save_file(head, partial / HEAD, metadata={"format": "pt"})
    if lm_head:
        save_file(lm_head, partial / REASONING_HEAD, metadata={"format": "pt"})
    if model.adapted:
        _write_adapter(partial / "adapter", model)


def _plain(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    tensor = tensor.detach().to("cpu")
    return (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()


def _save_stock(partial: Path, cls: type[PreTrainedModel], config: Any, state: dict[str, Tensor]) -> None:
    """Let the family's class write the files, so that the names are those its `from_pretrained` expects."""
    with torch.device("meta"):
        stock = cls(config)
    missing, unexpected = stock.load_state_dict(state, strict=False, assign=True)
    stock.tie_weights()
    left = [name for name, tensor in stock.state_dict().items() if tensor.is_meta]
    assert not unexpected and not left, (missing, unexpected, left)
    with no_foreign_bars():
        stock.save_pretrained(partial)


def _label_config(config: Any, labels: LabelSet) -> None:
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels.names))
    config.label2id = {name: index for index, name in enumerate(labels.names)}
    has_several = any(task.labels.multi_label for task in labels.slices)
    config.problem_type = "multi_label_classification" if has_several else "single_label_classification"


def _complete_config(path: Path, config: Any, labels: LabelSet) -> None:
    """Write fields that transformers omits when they equal a default, such as label maps with default names."""
    written = json.loads(path.read_text(encoding="utf-8"))
    written |= {
        "id2label": {str(index): name for index, name in enumerate(labels.names)},
        "label2id": {name: index for index, name in enumerate(labels.names)},
        "problem_type": config.problem_type,
        "pad_token_id": config.pad_token_id,
    }
    for name in config.sub_configs:
        if getattr(config, name) is config.get_text_config():
            written[name]["pad_token_id"] = config.pad_token_id
    write_json(path, written)


def _write_tokenizer(partial: Path, tokenizer: PreTrainedTokenizerBase, info: ArtifactInfo) -> None:
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    tokenizer.model_max_length = info.max_input_tokens
    tokenizer.save_pretrained(partial)


def _write_adapter(directory: Path, model: DualHeadModel) -> None:
    """Write the unmerged adapter for peft on a stock sequence classifier, with the head named `score`."""
    from peft import LoraConfig

    settings, stock = model.settings.lora, kind_of(model) == "sequence_classifier"
    assert settings is not None
    LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(model.adapted),  # explicit: on reloading, "all-linear" would adapt the head too
        modules_to_save=["score"] if stock else None,
        task_type="SEQ_CLS" if stock else None,
        base_model_name_or_path=model.backbone_name,
        inference_mode=True,
    ).save_pretrained(str(directory))
    tensors = {name: _plain(tensor, torch.float32) for name, tensor in adapter_state(model.causal_lm).items()}
    if stock:
        tensors["base_model.model.score.weight"] = _plain(model.head.score.weight, torch.float32)
    save_file(tensors, directory / "adapter_model.safetensors", metadata={"format": "pt"})
