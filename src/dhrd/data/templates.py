"""The input template: from a row's columns to the text that the classifier reads.

The template runs in training and at inference and travels in the artifact, so both read the same text. It is Jinja2
in a sandbox (`data/sandbox.py`): a template from a downloaded artifact cannot reach Python, nor run without end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import jinja2
import jinja2.meta
from jinja2 import nodes

from dhrd._text import message_of
from dhrd.data.budget import budget
from dhrd.data.chat import as_chat
from dhrd.data.records import Example
from dhrd.data.row import Columns
from dhrd.data.sandbox import TemplateEnvironment
from dhrd.data.values import is_blank
from dhrd.errors import ConfigError, DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PLAIN = "{{ input_text }}"


ROW = "row"
"""Names the whole row in a template, for columns whose names are none of Jinja2's: `{{ row["review text"] }}`."""

_environment = TemplateEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)


class InputTemplate:
    """A compiled input template.

    Args:
        source: Jinja2 text over the row's columns.
        chat: Wrap the result as one user turn in the tokenizer's chat template, ready for the model's answer.
        setting: Where the text comes from, for errors.
        is_learned: A model was trained with it, so that rows are to fit it.

    Raises:
        ConfigError: The text is not a valid template.

    Example:
        >>> InputTemplate("{{ premise }} => {{ hypothesis }}").render({"premise": "It rains.", "hypothesis": "Wet."})
        'It rains. => Wet.'
    """

    def __init__(
        self,
        source: str = PLAIN,
        *,
        chat: bool = False,
        setting: str = "data.input_template",
        is_learned: bool = False,
    ) -> None:
        self.source = source
        self.chat = chat
        self.setting = setting
        self.is_learned = is_learned
        try:
            self._template = _environment.from_string(source)
            tree = _environment.parse(source)
            self._reads_row_by_names = _reads_row_by_names(tree)
            self.variables = _columns_read(tree)
        except jinja2.TemplateSyntaxError as error:
            raise ConfigError(f"{setting}: {error.message} (line {error.lineno})") from error
        except (SyntaxError, RecursionError, ValueError, MemoryError) as error:  # what Python's own compiler says
            raise ConfigError(f"{setting}: cannot be compiled: {message_of(error)}; make it simpler") from error

    @property
    def is_plain(self) -> bool:
        """Whether the text is the row's input_text and nothing else, so that it can be cut on the right."""
        return self.source.strip() == PLAIN and not self.chat

    def render(
        self,
        columns: Columns,
        *,
        where: str = "row",
        tokenizer: PreTrainedTokenizerBase | None = None,
        may_be_empty: bool = False,
    ) -> str:
        """The text of one row.

        Args:
            columns: The row's columns.
            where: `file:line`, for the error.
            tokenizer: Needed for `chat`.
            may_be_empty: Whether a text without anything but space, or without anything of the row, is fine.

        Raises:
            DataError: A column that the template reads is missing, there is nothing in any of them, the text is empty,
                or it is far longer than the row.
        """
        text = columns.get("input_text") if self.source == PLAIN else None
        if not isinstance(text, str):
            text = self._rendered(columns, where)
        if not text.strip() and not may_be_empty:
            what = "input_text" if self.is_plain else f"the text of {self.setting}"
            raise DataError(f"{where}: {what} is empty; fill it in or remove the row")
        if not may_be_empty and self.variables and all(map(is_blank, self._values_read(columns))):
            names = ", ".join(sorted(self.variables))  # the template's own words would pass for a text
            raise DataError(f"{where}: there is nothing in {names}; fill it in or remove the row")
        return as_chat(text, tokenizer, where) if self.chat and tokenizer is not None else text

    def text_of(self, example: Example, tokenizer: PreTrainedTokenizerBase) -> str:
        """The text of a row, rendered now unless this template was when the row was read; raises as `render`."""
        if example.rendered is None or example.rendered[0] != self.source:
            return self.render(example.columns(), where=example.where, tokenizer=tokenizer)
        text = example.rendered[1]
        return as_chat(text, tokenizer, example.where) if self.chat else text

    def _values_read(self, columns: Columns) -> Iterable[object]:
        return columns.values() if ROW in self.variables else map(columns.get, self.variables)

    def _names(self, columns: Columns) -> Columns:
        """What names stand for: a column `row` hides the row, but not where `row["name"]` can mean the row alone."""
        is_hidden = isinstance(columns.get(ROW), Mapping) or not self._reads_row_by_names
        return {ROW: columns, **columns} if is_hidden else {**columns, ROW: columns}

    def _rendered(self, columns: Columns, where: str) -> str:
        what = f"{where}: {self.setting.removeprefix('data.')}"
        try:
            with budget(columns):
                text = self._template.render(self._names(columns))
            text.encode()  # a template may write half an emoji, "\\ud83d", which no tokenizer takes
            return text
        except jinja2.UndefinedError as error:
            is_told = ROW not in columns and not all(map(str.isidentifier, columns))
            hint = '; write other names as row["NAME"]' if is_told else ""
            mend = f"correct {self.setting} or data.columns{hint}"
            if self.is_learned:
                mend = "the model was trained with that column: add it to the rows"
            names = ", ".join(sorted(f"{name} (null)" if columns[name] is None else str(name) for name in columns))
            raise DataError(f"{what}: {error.message}; the row's columns are {names or 'none'} ({mend})") from error
        except Exception as error:  # a template is a program: it may divide by zero or add text to a number
            raise DataError(f"{what}: {message_of(error)} (correct {self.setting}, or the row)") from error


def _columns_read(tree: nodes.Template) -> frozenset[str]:
    """The columns that a template names, with `row` itself where it may read any of them."""
    named = {node.arg.value for node in tree.find_all(nodes.Getitem) if _is_column_of_row(node)}  # type: ignore[attr-defined]
    undeclared = jinja2.meta.find_undeclared_variables(tree)
    return frozenset((undeclared - {ROW} if _reads_row_by_names(tree) else undeclared) | named)


def _reads_row_by_names(tree: nodes.Template) -> bool:
    """Whether `row` is there as `row["name"]` alone, if at all."""
    num_rows = sum(node.name == ROW for node in tree.find_all(nodes.Name))
    return num_rows == sum(map(_is_column_of_row, tree.find_all(nodes.Getitem)))


def _is_column_of_row(node: nodes.Getitem) -> bool:
    """Whether this is `row["name"]`."""
    is_row = isinstance(node.node, nodes.Name) and node.node.name == ROW
    return is_row and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str)
