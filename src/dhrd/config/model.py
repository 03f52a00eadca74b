"""The settings of the backbone and the classification head."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dhrd.config.section import FileName, OneOrMore, Positive, Section, Share

Pooling = Literal["last", "mean"]
"""The poolings by name; `model/pooling.py` says what each does."""


class LoraSettings(Section):
    """Low-rank adapters on the backbone; the base weights stay frozen. Defaults are the paper's."""

    r: Annotated[int, Field(ge=1, le=65536)] = 16
    """Rank of the update."""
    alpha: Positive = 32
    """The update is scaled by alpha / r."""
    dropout: Share = 0.1
    """Dropout on the adapter's input."""
    target_modules: Annotated[tuple[str, ...] | None, OneOrMore] = None
    """Names of the linear layers to adapt; null: all linear layers of the backbone's blocks (q, k, v, o, gate, up,
    down in Llama's naming). Never the two heads."""


class ModelSettings(Section):
    """The backbone and the classification head."""

    name_or_path: FileName = "gpt2"
    """A hub name, a local directory, a local `.gguf` file, or `package:NAME/FILE.gguf` in an installed package.
    `scratch:CONFIG.json`: a model of that transformers config, its weights drawn from `seed`, with the tokenizer that
    lies beside the file."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    num_labels: Annotated[int, Field(ge=2, le=2**31 - 1)] | None = None
    """How many labels there are; the data tells, and this is checked. Needed where labels are the integers from 0 and
    the rows lack some, and where there are more than 1,000 or one a row, to say that it is meant."""
    head: Literal["linear", "mlp"] = "linear"
    """`linear`: one bias-free linear layer, what Hugging Face and vLLM serve. `mlp`: the paper's two layers."""
    pooling: Pooling = "last"
    """Which hidden state is classified: the input's last token, or the mean over the input."""
    dropout: Share = 0.1
    """Dropout before the classification head."""
    lora: LoraSettings | None = None
    """null: full fine-tuning."""
    quantization: Literal["nf4"] | None = None
    """Load the frozen backbone in 4 bits (QLoRA); needs `lora` and the extra `qlora`."""
    freeze_layers: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Freeze the embeddings and this many of the lowest blocks; no gradient runs below, so steps are cheaper."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Data type of the weights in the artifact, and of frozen weights under `lora`; null: float32. Weights that are
    trained are kept in float32 until they are saved: steps at usual rates are below what bfloat16 can tell apart."""
    head_init: Literal["random", "label_words"] = "random"
    """First weights of the head: drawn by the seed, or the LM head's rows of each label's words, averaged. With an
    input template that ends in the answer's marker (and shows examples) it then answers before any training."""
    keep_head: bool = False
    """Where `name_or_path` is an artifact: begin with its head's rows, by label; those of labels that it does not have
    begin as `head_init` says (`dhrd update`)."""

    @field_validator("lora", mode="before")
    @classmethod
    def _true_is_the_defaults(cls, value: object) -> object:
        return {} if value is True else None if value is False else value

    @model_validator(mode="after")
    def _check(self) -> ModelSettings:
        if self.quantization and self.lora is None:
            raise ValueError("`quantization` needs `lora`: a quantized backbone cannot be trained in full")
        if self.lora is not None and self.freeze_layers:
            raise ValueError("give `lora` or `freeze_layers`, not both: with LoRA the backbone is frozen already")
        if self.head_init == "label_words" and (self.head == "mlp" or self.pooling != "last"):
            raise ValueError(
                "`head_init: label_words` fills a linear head on the last token; use head: linear and "
                "pooling: last, or head_init: random"
            )
        return self
