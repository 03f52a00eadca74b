"""The DHRD documents' data set: encoded rows of a file, for a `torch.utils.data.DataLoader`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch.utils.data import Dataset

from dhrd.config import DataSettings, LossSettings
from dhrd.data.collate import collate
from dhrd.data.inputs import InputEncoder
from dhrd.data.label_sets import infer_labels
from dhrd.data.records import Batch, EncodedExample, LabelSet
from dhrd.data.sequence import SequenceEncoder
from dhrd.data.sources import open_source
from dhrd.data.tokens import prepare_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class DHRDDataset(Dataset[EncodedExample]):
    """Encoded rows.

    Args:
        examples: The rows.
        labels: The label set.
        pad_token_id: Token for padding.
        loss: The losses that the rows were encoded for; None: the documents' two.
    """

    def __init__(
        self,
        examples: Sequence[EncodedExample],
        labels: LabelSet,
        pad_token_id: int,
        loss: LossSettings | None = None,
    ) -> None:
        self.examples = examples
        self.labels = labels
        self.pad_token_id = pad_token_id
        self.loss = loss or LossSettings()

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> EncodedExample:
        return self.examples[index]

    def collate_fn(self, examples: Sequence[EncodedExample]) -> Batch:
        """Collate rows into a padded batch, for `DataLoader(collate_fn=…)`."""
        return collate(
            examples,
            pad_token_id=self.pad_token_id,
            num_labels=len(self.labels),
            lm_targets=self.loss.lm_targets,
        )


def load_json_dataset(
    file_path: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    max_input_length: int = 512,
    max_rationale_length: int = 1024,
    *,
    labels: LabelSet | Sequence[str] | None = None,
    loss: LossSettings | None = None,
) -> DHRDDataset:
    """Read a .json, .jsonl, .csv or .parquet file with `input_text`, `label`, `rationale`.

    Args:
        file_path: The file.
        tokenizer: The backbone's tokenizer; without a padding token, its eos token is used.
        max_input_length: Limit of the input, in tokens.
        max_rationale_length: Limit of the whole sequence, in tokens (`max_sequence_tokens`).
        labels: The label set; None: found in the file. Give an evaluation file that of training,
            `train_dataset.labels`: another file may lack some labels.
        loss: The losses that training rows are for, `model.loss_settings`: their `lm_targets`, and which of them read
            the rationale. None: the documents' two, of the label and of input, rationale and answer.

    Raises:
        DataError: Rows are malformed, the message names up to ten; or the rationales have no keywords to learn.
        ModelError: The tokenizer has neither a padding nor an eos token.
    """
    prepare_tokenizer(tokenizer)
    examples = open_source(file_path, DataSettings()).load()
    loss = loss or LossSettings()
    label_set = labels if isinstance(labels, LabelSet) else infer_labels(examples, names=labels)
    encoder = SequenceEncoder(
        inputs=InputEncoder(tokenizer=tokenizer, max_input_tokens=max_input_length),
        labels=label_set,
        max_sequence_tokens=max_rationale_length,
        with_reasoning=loss.runs_continuation,
        with_keywords=loss.keyword_weight > 0,
    )
    return DHRDDataset(encoder.encode(examples).examples, label_set, tokenizer.pad_token_id, loss)
