"""Every setting of a run, with its default and what it means.

The models are frozen and refuse unknown keys. `dhrd config schema` prints them as JSON schema, `dhrd config show`
prints the resolved values. Reading and overriding is `config/load.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dhrd._text import shown
from dhrd.config.losses import LossSettings
from dhrd.config.section import Count, FileName, LabelNames, OneOrMore, Part, Positive, Section, Seed, Share, Weight
from dhrd.config.tasks import Tasks, check_alone
from dhrd.config.teacher import TeacherSettings
from dhrd.errors import ConfigError

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
    reasoning_bottleneck: bool = False
    """Rationale and answer see of the input only its last tokens, those that are classified, so that what they need
    of it must pass through them. No change to the classifier's own forward pass."""
    bottleneck_tokens: Count = 1
    """How many of the input's last tokens they see."""
    bottleneck_share: Part = 1.0
    """For this share of the rows, drawn anew each epoch by the seed; the others see the whole input."""
    bottleneck_start: Share = 0.0
    """Not before this share of all updates: the backbone first learns to write rationales as usual."""

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
        if self.reasoning_bottleneck and self.pooling != "last":
            raise ValueError(
                f"`reasoning_bottleneck` goes with pooling: last; a {self.pooling} is of all tokens, not of one"
            )
        if self.head_init == "label_words" and (self.head == "mlp" or self.pooling != "last"):
            raise ValueError(
                "`head_init: label_words` fills a linear head on the last token; use head: linear and "
                "pooling: last, or head_init: random"
            )
        return self

    @property
    def visible_input_tokens(self) -> int | None:
        """How many of the input's last tokens the continuation sees; None: all."""
        return self.bottleneck_tokens if self.reasoning_bottleneck else None


class DataSettings(Section):
    """Where the rows come from and how a row becomes a sequence."""

    train: FileName | None = None
    """`superglue:TASK`, `policy_desk:rows=N,hops=H,noise=P,seed=S`, `hub:NAME[:CONFIG]`, or a .json, .jsonl, .csv,
    .tsv or .parquet file (plain or .gz), or a directory of such files; `-`: JSON lines from standard input."""
    validation: FileName | None = None
    """As `train`. With `superglue:`, `policy_desk:` and `hub:` it means the validation split."""
    test: FileName | None = None
    """As `train`; only `dhrd evaluate --split test` reads it."""
    rationales: FileName | None = None
    """A JSONL file of `id`, `rationale` and `input_digest`, joined to the training rows by id and digest."""
    superglue_root: FileName | None = None
    """The folder that holds CB/train.jsonl and so on; null: the hub, when online."""
    csv_delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """What stands between the fields of .csv files: one character, or `tab`."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our field -> your column, for `input_text`, `label`, `rationale`, `id`, `group`, `weight`."""
    input_template: str = "{{ input_text }}"
    """Jinja2 over the row's columns; what the classifier reads, in training and at inference."""
    chat: bool = False
    """Wrap the rendered text in the tokenizer's chat template, as one user turn."""
    labels: LabelNames | None = None
    """The label names in the order of the head; null: a ClassLabel's own, or found in the training rows and sorted
    (integers by number). An integer in a row is the name that it spells; where no name here is an integer, it is a
    place in this list, counted from 0."""
    label_separator: Annotated[str, Field(min_length=1)] | None = None
    """Splits a label's text into several labels: `"|"` reads `a|b` as a and b; null: text is one label."""
    multi_label: bool = False
    """Whether a row may have several labels although none is a list: shares are then a probability for each label."""
    max_input_tokens: Count = 512
    """Longer inputs are shortened: plain text on the right, templated rows in their longest field."""
    max_sequence_tokens: Count = 1024
    """Input + rationale + answer; the rationale is cut, the answer never."""
    order: Literal["reason_first", "label_first"] = "reason_first"
    """What follows the input: rationale, then answer (paper), or answer, then rationale."""
    rationale_mode: Literal["aligned", "label_only", "shuffled", "shuffled_with_label"] = "aligned"
    """The paper's Table 2: which rationale (and label) a row is trained on."""
    train_limit: Count | None = None
    """Use only the first rows."""
    train_share: Part = 1.0
    """Use only this share of the training rows, drawn by the seed, stratified; smaller shares are parts of larger."""
    rationale_share: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0
    """Keep the rationales of this share of the rows that have one, drawn by the seed; the rest learn their label."""
    label_noise: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Give this share of the training rows, drawn by the seed, a label drawn from all; their rationales stay."""
    validation_limit: Count | None = None
    """Use only the first rows."""
    dev_share: Share = 0.0
    """Cut this share, stratified and in whole groups, off train, for every choice; validation stays for reporting."""

    @field_validator("csv_delimiter", mode="before")
    @classmethod
    def _tab_by_name(cls, value: object) -> object:
        if value in ('"', "\n", "\r"):
            raise ValueError("quotes and line ends cannot stand between fields; give another character, or `tab`")
        return "\t" if value in ("tab", "\\t") else value

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, value: dict[str, str]) -> dict[str, str]:
        allowed = {"input_text", "label", "rationale", "id", "group", "weight"}
        if unknown := sorted(set(value) - allowed):
            raise ValueError(f"maps unknown field {shown(unknown[0])}; fields are {', '.join(sorted(allowed))}")
        return value

    @model_validator(mode="after")
    def _check(self) -> DataSettings:
        if self.max_sequence_tokens < self.max_input_tokens:
            raise ValueError(
                f"max_sequence_tokens ({self.max_sequence_tokens}) is smaller than max_input_tokens "
                f"({self.max_input_tokens}); the sequence holds the input, so raise the one or lower the other"
            )
        return self


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


class TrackingSettings(Section):
    """Where numbers go besides metrics.jsonl."""

    report_to: Annotated[tuple[Literal["mlflow", "wandb", "tensorboard"], ...], OneOrMore] = ()
    """Trackers to use."""
    uri: str | None = None
    """MLflow's tracking URI; null: sqlite:///mlflow.db."""
    experiment: str = "dhrd"
    """Name of the experiment or project."""
    run_name: str | None = None
    """Name of the run."""


class RunConfig(Section):
    """One training run. See the sections for the fields; `configs/` holds presets."""

    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    loss: LossSettings = LossSettings()
    training: TrainingSettings = TrainingSettings()
    tracking: TrackingSettings = TrackingSettings()
    teacher: TeacherSettings = TeacherSettings()
    tasks: Tasks = None
    """Several tasks by name, each with `column`, `labels`, `weight`, `multi_label`; null: the one that `data` has."""
    output_dir: FileName = "output"
    """The artifact is written here, checkpoints/ below it while training."""
    seed: Seed = 0
    """Decides the first weights of the head and of a `scratch:` backbone, the order of rows, dropout and the shuffles
    of `rationale_mode`."""

    @property
    def chooses(self) -> bool:
        """Whether evaluations during training choose the weights, or when it ends."""
        return self.training.selection == "best" or self.training.patience is not None

    def check_choices(self, *, has_validation: bool) -> None:
        """Before training: are there rows for the choices that are asked for?

        Args:
            has_validation: Whether there are validation rows, named here or given in Python.

        Raises:
            ConfigError: There are none.
        """
        training = self.training
        if has_validation or self.data.dev_share:
            return
        if self.chooses:
            raise ConfigError(
                "training.selection: best and training.patience need rows to choose by: set data.dev_share (say 0.1) "
                "or data.validation"
            )
        if training.calibrate:
            raise ConfigError(
                "training.calibrate needs rows to fit the temperature on: set data.dev_share (say 0.1) or "
                "data.validation"
            )

    @model_validator(mode="after")
    def _check(self) -> RunConfig:
        if self.loss.classification_weight == 0 and self.chooses:
            raise ValueError(
                "with loss.classification_weight: 0 there is no classifier to select by; use selection: last"
            )
        needing = [name for name in self.loss.rationale_losses if name != "reasoning"]
        if needing and self.data.rationale_mode == "label_only":
            raise ValueError(
                f"loss.{needing[0]}_weight needs rationales, which data.rationale_mode: label_only leaves out"
            )
        if self.loss.privileged_weight and self.data.order == "label_first":
            raise ValueError(
                "loss.privileged_weight classifies at the rationale's end, which with data.order: label_first has read "
                "the label; use reason_first"
            )
        if self.training.calibrate and self.loss.classification_weight == 0:
            raise ValueError("with loss.classification_weight: 0 there is no classifier; leave out training.calibrate")
        if self.training.cache_frozen and not self.model.freeze_layers:
            raise ValueError("training.cache_frozen keeps what frozen layers give: set model.freeze_layers as well")
        data = self.data
        check_alone(self.tasks, data.labels, data.multi_label, "label" in data.columns, self.model.num_labels)
        return self
