"""The sequence s = [x, <reason>, r, <answer>, y] (paper, section 3), as tokens.

x is tokenised alone, exactly as at inference, and so is what follows, so that no token merges across the border and
x is the same tokens with and without a rationale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from dhrd._progress import track
from dhrd.data.inputs import EncodedInput, InputEncoder
from dhrd.data.keywords import keyword_ids
from dhrd.data.records import EncodedExample, Example, LabelSet
from dhrd.data.supervise import RationaleMode, Supervised, supervise
from dhrd.errors import ModelError

_CHUNK_ROWS = 512  # rows per call of the tokenizer: enough to use its threads, little memory


@dataclass(frozen=True, slots=True)
class SequenceTemplate:
    """What follows an input.

    Args:
        reason: The marker before the rationale: plain text, so that no token is added to the vocabulary.
        answer: The marker before the answer.
    """

    reason: str = "\n\nReasoning: "
    answer: str = "\nAnswer: "


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedData:
    """Encoded rows and what happened to them on the way."""

    examples: list[EncodedExample]
    num_inputs_cut: int = 0
    num_rationales_cut: int = 0
    num_with_rationale: int = 0
    donors: dict[str, str] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence; the answer, which is never cut, may reach past `max_sequence_tokens`."""
        return max((len(example.input_ids) + len(example.continuation_ids) for example in self.examples), default=0)

    def summary(self) -> str:
        """One line for a person."""
        rows = f"{len(self)} rows, {self.num_with_rationale} with a rationale"
        return f"{rows}; cut: {self.num_inputs_cut} inputs, {self.num_rationales_cut} rationales"


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceEncoder:
    """Rows to sequences.

    Args:
        inputs: Encodes x.
        labels: The label set; it also words the answer y.
        max_sequence_tokens: The rationale is cut at what remains beside input and answer.
        with_reasoning: False for the pooled baseline: no rationale token is run.
        with_keywords: Whether the content words of the rationales are wanted too.
        rationale_mode: Paper, Table 2.
        seed: Decides the donors of the shuffled modes.
    """

    inputs: InputEncoder
    labels: LabelSet
    max_sequence_tokens: int = 1024
    with_reasoning: bool = True
    with_keywords: bool = False
    rationale_mode: RationaleMode = "aligned"
    seed: int = 0
    template: SequenceTemplate = SequenceTemplate()

    def encode(self, examples: Sequence[Example], *, description: str = "tokenising") -> EncodedData:
        """Encode all rows, in batches, with a progress bar.

        Raises:
            DataError: As `InputEncoder.encode` and `LabelSet.encode`.
            ModelError: The tokenizer has no end-of-sequence token, at which the reasoning head must learn to stop.
        """
        supervised = supervise(examples, self.rationale_mode, self.seed)
        labels = [self._label(row.label_donor) for row in supervised]
        inputs: list[EncodedInput] = []
        continuations: list[_Continuation] = []
        for start in track(range(0, len(examples), _CHUNK_ROWS), description):
            part = slice(start, start + _CHUNK_ROWS)
            inputs += self.inputs.encode_examples([row.example for row in supervised[part]])
            continuations += self._continuations(supervised[part], inputs[part], labels[part])
        encoded = [
            EncodedExample(
                id=row.example.id,
                input_ids=item.input_ids,
                continuation_ids=after.ids,
                label=label,
                unlabelled=self._unlabelled(row.label_donor),
                shares=self._shares(row.label_donor),
                weight=row.example.weight,
                reason_end=after.reason_end,
                group=row.example.group,
            )
            for row, item, label, after in zip(supervised, inputs, labels, continuations, strict=True)
        ]
        reads_rationales = self.with_reasoning or self.with_keywords
        return EncodedData(
            examples=self._add_keywords(encoded, supervised) if self.with_keywords else encoded,
            num_inputs_cut=sum(item.was_cut for item in inputs),
            num_rationales_cut=sum(after.was_cut for after in continuations),
            num_with_rationale=sum(reads_rationales and row.reason_donor is not None for row in supervised),
            donors={
                row.example.id: row.reason_donor.id
                for row in supervised
                if row.reason_donor is not None and row.reason_donor is not row.example
            },
            texts=[item.text for item in inputs],
        )

    def _label(self, donor: Example) -> tuple[int, ...]:
        return self.labels.encode(donor.label, donor.where) if donor.label is not None else ()

    def _unlabelled(self, donor: Example) -> tuple[int, ...]:
        return self.labels.unlabelled(donor.label) if donor.label is not None else ()

    def _shares(self, donor: Example) -> tuple[float, ...] | None:
        if donor.shares is not None or donor.label is None:
            return donor.shares
        return self.labels.shares(donor.label, donor.where)

    def _continuations(
        self, rows: Sequence[Supervised], inputs: Sequence[EncodedInput], labels: Sequence[tuple[int, ...]]
    ) -> list[_Continuation]:
        """What follows each input and ends in eos: nothing where there is nothing to learn but the label."""
        wanted = [i for i, row in enumerate(rows) if self.with_reasoning and row.with_answer]
        result = [_Continuation()] * len(rows)
        if not wanted:
            return result
        eos = self.inputs.tokenizer.eos_token_id
        if eos is None:
            raise ModelError("the tokenizer has no eos token, which the reasoning head needs to learn to stop; set one")
        texts = [self._parts(rows[i], labels[i]) for i in wanted]
        tokens = self.inputs.tokens
        reasons = tokens.first([reason for reason, _ in texts], self.max_sequence_tokens, special_tokens=False)
        answers = tokens.all([answer for _, answer in texts], special_tokens=False)
        for i, reason, answer in zip(wanted, reasons, answers, strict=True):
            room = max(0, self.max_sequence_tokens - len(inputs[i].input_ids) - len(answer) - 1)
            kept, was_cut = reason.ids[:room], reason.num_tokens > room
            ending = [*answer, eos] if answer else []  # of another task's label nothing is known
            result[i] = _Continuation([*kept, *ending], len(kept), was_cut)
        return result

    def _parts(self, row: Supervised, label: tuple[int, ...]) -> tuple[str, str]:
        """Rationale and answer, each with the marker before it; no rationale is "" altogether, nor is a label that the
        row has none of."""
        reason = self.template.reason + row.rationale if row.reason_donor else ""
        assert row.label_donor.label is not None
        task = self.labels.slice_of(row.task)
        if not task.is_in(row.label_donor.label):
            return reason, ""
        return reason, self.template.answer + task.labels.write(task.own(label))

    def _add_keywords(
        self, examples: Sequence[EncodedExample], supervised: Sequence[Supervised]
    ) -> list[EncodedExample]:
        tokenize = partial(self.inputs.tokens.all, special_tokens=False)
        words = {token for ids in tokenize([f" {word}" for word in self.labels.words]) for token in ids}
        rationales = tokenize([f" {row.rationale}" if row.reason_donor else "" for row in supervised])
        keywords = keyword_ids(rationales, self.inputs.tokenizer, left_out=words)
        return [replace(example, keyword_ids=ids) for example, ids in zip(examples, keywords, strict=True)]


@dataclass(frozen=True, slots=True)
class _Continuation:
    """Tokens after an input, how many of them end with the rationale's last, and whether it was cut."""

    ids: list[int] = field(default_factory=list)
    reason_end: int = 0
    was_cut: bool = False
