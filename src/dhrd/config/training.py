"""The settings of the optimisation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from dhrd.config.section import Count, Positive, Section, Share, Weight


class TrainingSettings(Section):
    """Optimisation."""

    num_epochs: Count = 3
    """Passes over the training rows."""
    learning_rate: Positive = 5e-5
    """Peak learning rate of the backbone (or its adapters)."""
    head_learning_rate: Positive | None = 1e-3
    """Peak learning rate of the classification head; null: as the backbone's."""
    batch_size: Count = 8
    """Rows per process per micro-batch."""
    gradient_accumulation_steps: Count = 1
    """Micro-batches per update."""
    max_tokens_per_micro_batch: Count | None = None
    """Bounds a micro-batch by its tokens, shared text counted once and padding included, instead of by rows. Which rows
    an update holds stays as `batch_size` and `gradient_accumulation_steps` make it. null: by rows."""
    share_prefixes: Literal["auto"] | bool = "auto"
    """Run text that rows of an update begin with once: the same loss and gradients, fewer tokens. `auto`: where it
    costs less and is exact; true: an error where it cannot be had; false: never."""
    share_dropout: bool = False
    """Share text even where the backbone or its adapters have dropout, though rows that share text then share what is
    dropped of it. Dropout before the classification head is each row's own either way."""
    group_by_prefix: bool = False
    """Put rows that begin alike into one update, so that they can share it. Updates are then less mixed; see
    docs/training.md for what that did to accuracy."""
    pack_rows: bool = False
    """Lay rows out one after the other in one sequence, instead of padding them to the longest: the same loss and
    gradients, no padding."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Course of the learning rate after warm-up."""
    warmup_share: Share = 0.1
    """Share of all updates in which the rate rises linearly from 0."""
    warmup_steps: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    """Warm-up in updates; given, it replaces `warmup_share`."""
    weight_decay: Weight = 0.01
    """AdamW's; not applied to norms and biases."""
    clip_norm: Positive | None = 1.0
    """Clip the gradient's global norm; null: off."""
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    """`auto`: bf16 on GPUs that have it and on CPUs where it was measured to be faster, else off; a run keeps it."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, slower steps."""
    compile: bool = False
    """`torch.compile` the trained layers: half a minute at first, then faster steps; worth it from some hundred updates
    on. Weights are as without it but for rounding."""
    cache_frozen: bool = False
    """With `model.freeze_layers`: run the frozen layers once a row and keep what they give, 4 bytes · hidden size a
    token. The same weights come out; later epochs are cheaper. The frozen part must have no dropout."""
    save_steps: Count | None = None
    """A checkpoint every so many updates; null: at the end of each epoch."""
    eval_steps: Count | None = None
    """An evaluation every so many updates; null: at the end of each epoch."""
    selection: Literal["last", "best"] = "last"
    """Which weights become the artifact."""
    metric: str | None = None
    """What `best` and `patience` watch, for example `accuracy`, `macro_f1`, `log_loss`; null: the task's own."""
    patience: Count | None = None
    """Stop after so many evaluations without improvement; null: never."""
    calibrate: bool = False
    """Divide the head by a temperature fitted on held-out rows (`data.dev_share`, else validation): probabilities then
    are confidences, labels stay as they are."""

    @field_validator("mixed_precision", mode="before")
    @classmethod
    def _yaml_reads_no_as_false(cls, value: object) -> object:
        return "no" if value is False else value
