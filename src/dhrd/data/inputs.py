"""The input x as tokens: what the classifier reads of a row, the same in training and at inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dhrd.data.records import Example
from dhrd.data.row import Columns
from dhrd.data.templates import ROW, InputTemplate
from dhrd.data.tokens import FirstTokens, TextTokenizer
from dhrd.errors import DataError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class EncodedInput:
    """One input as the model sees it."""

    text: str
    input_ids: list[int]
    was_cut: bool = False
    was_mended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InputEncoder:
    """Text to tokens, the same in training and at inference.

    Args:
        tokenizer: The backbone's.
        template: From columns to text.
        max_input_tokens: Longer inputs are shortened, never at the template's ending, where the classifier pools.
        mend_pad_ending: What to do with an input whose last token is the padding token, which stock classifiers
            would pool one token early: False (training) refuses the row, True (inference) appends a newline.
        strict: Refuse longer inputs instead of shortening them.
    """

    tokenizer: PreTrainedTokenizerBase
    template: InputTemplate = field(default_factory=InputTemplate)
    max_input_tokens: int = 512
    mend_pad_ending: bool = False
    strict: bool = False
    tokens: TextTokenizer = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", TextTokenizer(self.tokenizer))

    def encode(self, rows: Sequence[tuple[Columns, str]]) -> list[EncodedInput]:
        """Encode rows given as (columns, `file:line`).

        Raises:
            DataError: A text is empty, a column is missing, the template alone is over the limit, an input is (with
                `strict`), or (in training) it ends in the padding token.
        """
        texts = [self.template.render(columns, where=where, tokenizer=self.tokenizer) for columns, where in rows]
        return self._encode(rows, texts)

    def encode_examples(self, examples: Sequence[Example]) -> list[EncodedInput]:
        """Encode rows as `encode` does, without rendering again those that were rendered when they were read."""
        texts = [self.template.text_of(example, self.tokenizer) for example in examples]
        return self._encode([(example.columns(), example.where) for example in examples], texts)

    def _encode(self, rows: Sequence[tuple[Columns, str]], texts: Sequence[str]) -> list[EncodedInput]:
        beginnings = self.tokens.first(texts, self.max_input_tokens)
        return [
            self._check_ending(self._fitting(columns, where, text, first), where)
            for (columns, where), text, first in zip(rows, texts, beginnings, strict=True)
        ]

    def _fitting(self, columns: Columns, where: str, text: str, first: FirstTokens) -> EncodedInput:
        if first.was_cut and self.strict:
            raise DataError(
                f"{where}: {'' if first.was_read else 'more than '}{first.num_tokens} tokens exceed the limit of "
                f"{self.max_input_tokens}; shorten the text, or leave out `strict` to truncate it"
            )
        if not first.ids:
            raise DataError(f"{where}: the text has no tokens; fill it in or remove the row")
        if not first.was_cut:
            return EncodedInput(text, first.ids)
        if self.template.is_plain:
            return EncodedInput(self.tokenizer.decode(first.ids, skip_special_tokens=True), first.ids, was_cut=True)
        return self._shorten(columns, where)

    def _shorten(self, columns: Columns, where: str) -> EncodedInput:
        names = columns if ROW in self.template.variables else self.template.variables
        texts = {name: text for name in names if isinstance(text := columns.get(name), str)}
        if not texts:
            raise DataError(
                f"{where}: longer than max_input_tokens ({self.max_input_tokens}), and data.input_template reads no "
                "column of text that could be shortened; raise data.max_input_tokens, or give the text its own column"
            )
        for name in sorted(texts, key=lambda name: (-len(texts[name]), name)):
            shortened = self._longest_that_fits({**columns, **texts}, name, texts[name], where)
            if shortened is not None:
                return shortened
            texts[name] = ""
        raise DataError(
            f"{where}: the template alone is longer than max_input_tokens ({self.max_input_tokens}); "
            "raise data.max_input_tokens or shorten data.input_template"
        )

    def _longest_that_fits(self, columns: Columns, name: str, whole: str, where: str) -> EncodedInput | None:
        """Shorten one column, by bisection over its length in characters; None if even without it the row is long."""
        best, low, high = None, 0, len(whole)
        while low <= high:
            middle = (low + high) // 2
            trial = {**columns, name: whole[:middle].rstrip()}
            text = self.template.render(trial, where=where, tokenizer=self.tokenizer, may_be_empty=True)
            (first,) = self.tokens.first([text], self.max_input_tokens)
            if first.was_cut:
                high = middle - 1
            else:
                best, low = EncodedInput(text, first.ids, was_cut=True), middle + 1
        return best

    def _check_ending(self, item: EncodedInput, where: str) -> EncodedInput:
        pad = self.tokenizer.pad_token_id
        if item.input_ids[-1] != pad:
            return item
        if not self.mend_pad_ending:
            if self.tokens.all(["a"])[0][-1] == pad:
                raise ModelError(
                    f"the tokenizer ends every text with {self.tokenizer.pad_token!r} and also pads with it, so a "
                    "classifier cannot find the text's end; set another pad token, or do not add it (often "
                    "add_eos_token: false in tokenizer_config.json), and save the tokenizer again"
                )
            raise DataError(
                f"{where}: the input ends in the padding token ({self.tokenizer.pad_token!r}), at which stock "
                "classifiers do not pool; remove it from the text, or end data.input_template in other text"
            )
        (newline,) = self.tokens.all(["\n"], special_tokens=False)
        ids = item.input_ids[: self.max_input_tokens - len(newline)] + newline
        return replace(item, text=item.text + "\n", input_ids=ids, was_mended=True)
