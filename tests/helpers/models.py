"""Tiny random models of every supported family, rows of unequal length, and the pieces of a step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import (
    Gemma3Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    Phi3Config,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from dhrd.config import LossSettings, ModelSettings, RunConfig, resolve
from dhrd.data.collate import collate
from dhrd.data.records import Batch, EncodedExample
from dhrd.losses import LabelLoss
from dhrd.model.backbone import Backbone
from dhrd.model.dual_head import DualHeadModel
from dhrd.training.setup import make_train_state
from dhrd.training.step import TrainState, train_step
from helpers.rows import make_tokenizer

torch.set_num_threads(1)  # for models this small threads only cost

WINDOW = 6  # of sliding attention: shorter than almost every row
NUM_LABELS = 3
VOCAB_SIZE = 264  # every kind of `make_tokenizer` fits
_NARROW: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 256,
}
_GROUPED: dict[str, Any] = _NARROW | {"num_key_value_heads": 1}

# Weights are drawn wide, so that attention, norms and windows decide something; dropout is off everywhere.
FAMILIES: dict[str, Callable[..., PretrainedConfig]] = {
    "gpt2": lambda **more: GPT2Config(
        **{"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 256, "initializer_range": 0.3}
        | {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        | more
    ),
    "opt": lambda **more: OPTConfig(
        **{"hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "init_std": 0.3}
        | {"word_embed_proj_dim": 8, "max_position_embeddings": 256}
        | {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
        | more
    ),
    "gpt_neox": lambda **more: GPTNeoXConfig(
        **_NARROW | {"hidden_dropout": 0.0, "attention_dropout": 0.0, "initializer_range": 0.3} | more
    ),
    "llama": lambda **more: LlamaConfig(**_GROUPED | {"tie_word_embeddings": True, "initializer_range": 0.3} | more),
    "mistral": lambda **more: MistralConfig(**_GROUPED | {"sliding_window": WINDOW, "initializer_range": 0.3} | more),
    "qwen2": lambda **more: Qwen2Config(**_GROUPED | {"initializer_range": 0.3} | more),
    "qwen3": lambda **more: Qwen3Config(**_GROUPED | {"head_dim": 8, "initializer_range": 0.3} | more),
    "gemma3": lambda **more: Gemma3TextConfig(
        **_GROUPED
        | {"head_dim": 8, "sliding_window": WINDOW, "final_logit_softcapping": 5.0, "initializer_range": 0.3}
        | {"layer_types": ["sliding_attention", "full_attention"], "query_pre_attn_scalar": 8}
        | more
    ),
    "phi3": lambda **more: Phi3Config(
        **_GROUPED
        | {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "initializer_range": 0.3}
        | {"original_max_position_embeddings": 256}
        | more
    ),
}
"""The families that issue and README promise, as makers of their configs."""


def make_causal_lm(family: str, *, seed: int = 0, **more: Any) -> PreTrainedModel:
    """A family's tiny `…ForCausalLM`.

    Args:
        family: A key of `FAMILIES`.
        seed: Of its weights.
        **more: Over the config's fields.
    """
    tokenizer = make_tokenizer()
    special = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    return causal_lm_of(FAMILIES[family](**{"vocab_size": VOCAB_SIZE} | special | more), seed=seed)


def make_composite() -> PreTrainedModel:
    """A Gemma 3 of text and images, whose text part has a config of its own, with another padding token."""
    text = FAMILIES["gemma3"](vocab_size=VOCAB_SIZE, final_logit_softcapping=None).to_dict()
    vision = _NARROW | {"image_size": 28, "patch_size": 14}
    images = {"mm_tokens_per_image": 4, "image_token_index": 260, "boi_token_index": 258, "eoi_token_index": 259}
    return causal_lm_of(Gemma3Config(text_config=text, vision_config=vision, **images))


def causal_lm_of(config: PretrainedConfig, *, seed: int = 0) -> PreTrainedModel:
    """The `…ForCausalLM` of a config, with weights that are nowhere 0 or 1."""
    torch.manual_seed(seed)
    model = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # norms and biases begin at 1 and 0, which would hide one that is left out
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def make_backbone(family: str = "llama", *, tokenizer: PreTrainedTokenizerFast | None = None, **more: Any) -> Backbone:
    """A tiny backbone with its tokenizer."""
    return Backbone(make_causal_lm(family, **more), tokenizer or make_tokenizer(), f"tiny {family}")


def make_model(
    family: str = "llama",
    *,
    loss: LossSettings | None = None,
    backbone: Backbone | None = None,
    num_labels: int = NUM_LABELS,
    label_loss: LabelLoss | Mapping[str, LabelLoss] | None = None,
    seed: int = 0,
    config: dict[str, Any] | None = None,
    **settings: Any,
) -> DualHeadModel:
    """A tiny dual-head model without dropout.

    Args:
        family: A key of `FAMILIES`.
        loss: Weights and options of the losses.
        backbone: Instead of the family's own.
        num_labels: C.
        label_loss: L_cls, or that of each task.
        seed: Of all weights.
        config: Over fields of the family's config.
        **settings: Fields of `ModelSettings`.
    """
    model = DualHeadModel(
        num_labels=num_labels,
        settings=ModelSettings(**{"dropout": 0.0} | settings),
        loss=loss or LossSettings(),
        backbone=backbone or make_backbone(family, seed=seed, **config or {}),
        label_loss=label_loss,
        seed=seed,
    )
    with torch.no_grad():
        model.head.score.weight.mul_(20)  # as large as a trained head, so that L_cls moves the backbone too
    return model


def save_backbone(
    directory: Path, family: str, *, tokenizer: PreTrainedTokenizerFast | None = None, **more: Any
) -> str:
    """Write a tiny backbone as a directory that `model.name_or_path` takes."""
    make_causal_lm(family, **more).save_pretrained(directory)
    (tokenizer or make_tokenizer()).save_pretrained(directory)
    return str(directory)


def rows(count: int = 6, *, seed: int = 0, num_labels: int = NUM_LABELS) -> list[EncodedExample]:
    """Rows of unequal length, every third without a rationale; the tokens are random bytes."""
    generator = torch.Generator().manual_seed(seed)

    def tokens(low: int, high: int) -> list[int]:
        length = int(torch.randint(low, high, (1,), generator=generator))
        return torch.randint(0, 256, (length,), generator=generator).tolist()

    return [
        EncodedExample(
            id=f"row-{i}",
            input_ids=tokens(3, 16),
            continuation_ids=[] if i % 3 == 2 else tokens(4, 24),
            label=(i % num_labels,),
        )
        for i in range(count)
    ]


def texts(count: int = 10) -> list[dict[str, Any]]:
    """Rows as a person writes them, every third without a rationale."""
    subjects = ["the parcel", "an invoice", "my account", "this refund"]
    made = []
    for i in range(count):
        text = f"{subjects[i % 4]} number {i} " + "is late " * (i % 5)
        rationale = None if i % 3 == 2 else f"It is about {subjects[i % 4]}" + ", again" * (i % 4) + "."
        made.append({"input_text": text.strip(), "label": ("bill", "login", "mail")[i % 3], "rationale": rationale})
    return made


def make_batch(
    examples: Sequence[EncodedExample], model: DualHeadModel, *, num_labels: int = NUM_LABELS, **options: Any
) -> Batch:
    """Collate with the model's padding token."""
    pad = model.tokenizer.pad_token_id
    assert isinstance(pad, int)
    return collate(examples, pad_token_id=pad, num_labels=num_labels, **options)


def run_config(**sections: Any) -> RunConfig:
    """A run's config: fp32, constant rates, no clipping, short sequences, unless said otherwise."""
    training = {"mixed_precision": "no", "schedule": "constant", "warmup_share": 0.0, "clip_norm": None}
    data = {"max_input_tokens": 96, "max_sequence_tokens": 192}
    defaults = {"training": training | sections.get("training", {}), "data": data | sections.get("data", {})}
    return resolve(sections | defaults)


def step_of(model: DualHeadModel, **training: Any) -> TrainState:
    """A real state on the CPU."""
    config = run_config(loss=model.loss_settings.model_dump(), training=training)
    return make_train_state(model, config, Accelerator(cpu=True, mixed_precision="no"), num_updates=10)


def gradients_of_step(
    model: DualHeadModel, micro_batches: Sequence[Batch], **training: Any
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """One real update: what it logged, and the gradients that the optimizer was given."""
    state, found = step_of(model, **training), {}

    def keep(*_: Any) -> None:
        found.update({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})

    handle = state.optimizer.register_step_pre_hook(keep)
    log = train_step(state, micro_batches, 1)
    handle.remove()
    return log, found


def difference(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """The largest difference between two sets of tensors, each relative to its tensor's largest element.

    Tensors whose elements are all below a hundredth of the largest anywhere are measured against that hundredth: the
    gradient of OPT's key bias is 0 on paper, so what is there is rounding alone.
    """
    assert ours.keys() == theirs.keys(), sorted(ours.keys() ^ theirs.keys())
    assert ours
    floor = 1e-2 * max(float(tensor.abs().max()) for tensor in theirs.values())
    assert floor > 0
    return max(float((ours[n] - theirs[n]).abs().max()) / max(floor, float(theirs[n].abs().max())) for n in theirs)


def clone(model: DualHeadModel) -> DualHeadModel:
    """The same weights again, tied where they were tied."""
    return copy.deepcopy(model)


def parameters_of(model: torch.nn.Module, names: Iterable[str] | None = None) -> dict[str, Tensor]:
    """Copies of a model's parameters by name."""
    wanted = set(names) if names is not None else None
    return {n: p.detach().clone() for n, p in model.named_parameters() if wanted is None or n in wanted}
