"""The settings of training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from dhrd.config.section import Count, Positive, Section, Share, Weight


class TrainingSettings(Section):
    """Optimisation, precision, checkpoints and selection."""

    num_epochs: Count = 3
    """Passes over the training rows."""
    learning_rate: Positive = 5e-5
    """Peak learning rate of the backbone (or its adapters)."""
    head_learning_rate: Positive | None = 1e-3
    """Peak learning rate of the classification head; null: the backbone's."""
    batch_size: Count = 8
    """Rows per process per micro-batch."""
    gradient_accumulation_steps: Count = 1
    """Micro-batches per update."""
    max_tokens_per_micro_batch: Count | None = None
    """Limit micro-batches by tokens (shared text counted once, padding included) instead of by rows. The rows of an
    update are still determined by `batch_size` and `gradient_accumulation_steps`. null: by rows."""
    share_prefixes: Literal["auto"] | bool = "auto"
    """Compute text that several rows of an update start with only once: the same loss and gradients, fewer tokens.
    `auto`: where it is cheaper and exact; true: an error where it is not possible; false: never."""
    share_dropout: bool = False
    """Share text even if the backbone or its adapters have dropout; rows then share its dropout mask. Dropout before
    the classification head is always separate."""
    group_by_prefix: bool = False
    """Put rows that start alike into the same update, so that they can share text. Updates are then less mixed; see
    docs/training.md for the effect on accuracy."""
    pack_rows: bool = False
    """Concatenate rows into one sequence instead of padding them to the longest: the same loss and gradients, no
    padding."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Learning rate schedule after warm-up."""
    warmup_share: Share = 0.1
    """Share of all updates in which the learning rate rises linearly from 0."""
    warmup_steps: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    """Number of warm-up updates; overrides `warmup_share`."""
    weight_decay: Weight = 0.01
    """Weight decay of AdamW; not applied to norms and biases."""
    clip_norm: Positive | None = 1.0
    """Maximum global norm of the gradient; null: no clipping."""
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    """`auto`: bf16 on GPUs that support it and on CPUs where it measures faster, else off; kept when a run is
    resumed."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, slower steps."""
    compile: bool = False
    """Use `torch.compile` on the trained layers: half a minute at the start, then faster steps; worthwhile from a few
    hundred updates. The weights are the same up to rounding."""
    cache_frozen: bool = False
    """With `model.freeze_layers`: run the frozen layers once per row and cache their output, 4 bytes · hidden size per
    token, on the GPU if a tenth of its free memory holds it. Gives the same weights; later epochs are cheaper. The
    frozen part must have no dropout."""
    save_steps: Count | None = None
    """Save a checkpoint every N updates; null: at the end of each epoch."""
    eval_steps: Count | None = None
    """Evaluate every N updates; null: at the end of each epoch."""
    selection: Literal["last", "best"] = "last"
    """Which weights become the artifact: the last, or the best by `metric` of all evaluations, of which the end of
    training is always one."""
    metric: str | None = None
    """Metric for `best` and `patience`, for example `accuracy`, `macro_f1`, `log_loss`; null: the task's main
    metric."""
    patience: Count | None = None
    """Stop after N evaluations without improvement; null: never."""
    calibrate: bool = False
    """Divide the head's weights by a temperature fitted on held-out rows (`data.dev_share`, else validation), so that
    probabilities are calibrated; labels do not change."""

    @field_validator("mixed_precision", mode="before")
    @classmethod
    def _yaml_reads_no_as_false(cls, value: object) -> object:
        return "no" if value is False else value
