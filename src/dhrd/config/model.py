"""The settings of the backbone and the classification head."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dhrd.config.section import FileName, OneOrMore, Positive, Section, Share

Pooling = Literal["last", "mean"]
"""Names of the poolings, which `model/pooling.py` implements."""


class LoraSettings(Section):
    """Low-rank adapters on the backbone; the base weights stay frozen. The defaults are the paper's."""

    r: Annotated[int, Field(ge=1, le=65536)] = 16
    """Rank of the adapters."""
    alpha: Positive = 32
    """The adapters' output is scaled by alpha / r."""
    dropout: Share = 0.1
    """Dropout on the adapters' input."""
    target_modules: Annotated[tuple[str, ...] | None, OneOrMore] = None
    """Names of the linear layers to adapt; null: all linear layers of the backbone's blocks (q, k, v, o, gate, up,
    down in Llama's naming) but routers and names that peft takes for fused experts. The two heads are never
    adapted."""


class ModelSettings(Section):
    """The backbone and the classification head."""

    name_or_path: FileName = "gpt2"
    """A hub name, a local directory, a local `.gguf` file, or `package:NAME/FILE.gguf` in an installed package.
    `scratch:CONFIG.json`: a randomly initialised model of that transformers config, with the tokenizer found next to
    the file."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    num_labels: Annotated[int, Field(ge=2, le=2**31 - 1)] | None = None
    """Number of labels, checked against the data; null: inferred. Needed if labels are integers from 0 of which the
    rows lack some, and to confirm more than 1,000 labels or as many labels as rows."""
    head: Literal["linear", "mlp"] = "linear"
    """`linear`: one linear layer without bias, as served by Hugging Face and vLLM. `mlp`: the paper's two layers."""
    pooling: Pooling = "last"
    """The hidden state to classify: that of the input's last token, or the mean over the input."""
    dropout: Share = 0.1
    """Dropout before the classification head."""
    lora: LoraSettings | None = None
    """null: full fine-tuning."""
    quantization: Literal["nf4"] | None = None
    """Load the frozen backbone in 4 bits (QLoRA); needs `lora` and the extra `qlora`."""
    freeze_layers: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Freeze the embeddings and this many of the lowest blocks, which makes steps cheaper."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Data type of the weights in the artifact, and of frozen weights under `lora`; null: float32. Trained weights are
    kept in float32 until they are saved, as bfloat16 is too coarse for updates at usual learning rates."""
    head_init: Literal["random", "label_words"] = "random"
    """Initial weights of the head: random, or for each label the mean of the LM head's rows for the label's words. The
    latter classifies before any training if the input template ends in the answer marker (and shows examples)."""
    keep_head: bool = False
    """If `name_or_path` is an artifact, start from its head's rows, matched by label; labels that it does not have are
    initialised by `head_init` (used by `dhrd update`)."""

    @field_validator("lora", mode="before")
    @classmethod
    def _true_is_the_defaults(cls, value: object) -> object:
        return {} if value is True else None if value is False else value

    @model_validator(mode="after")
    def _check(self) -> ModelSettings:
        if self.quantization and self.lora is None:
            raise ValueError("`quantization` needs `lora`: a quantized backbone cannot be trained in full")
        if self.lora is not None and self.freeze_layers:
            raise ValueError("give `lora` or `freeze_layers`, not both: LoRA already freezes the backbone")
        if self.head_init == "label_words" and (self.head == "mlp" or self.pooling != "last"):
            raise ValueError(
                "`head_init: label_words` needs a linear head on the last token; use head: linear and "
                "pooling: last, or head_init: random"
            )
        return self
