"""The tokenizer's chat template around a text, rendered within the bounds of `data/sandbox.py`.

The template comes with the tokenizer, that is with an artifact. transformers runs it in Jinja2's sandbox, which does
not bound it; here it has the same functions and variables and gives the same text, but for the date: it is one for all
time, since a classifier shall read tomorrow what it was trained on today.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.utils import Namespace

from dhrd._text import message_of
from dhrd.data.budget import budget, charge, size_of
from dhrd.data.sandbox import TemplateEnvironment, charged
from dhrd.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


_DATE = datetime(2024, 7, 26)  # what Llama 3's own template falls back to


def as_chat(text: str, tokenizer: PreTrainedTokenizerBase, where: str) -> str:
    """The text as one user turn, ready for the model's answer, without the token that every tokenizing adds.

    Raises:
        ConfigError: The tokenizer has no chat template, or it fails or does not end.
    """
    if not tokenizer.chat_template:
        raise ConfigError("data.chat: the tokenizer has no chat template; write the turns in data.input_template")
    turn = {"role": "user", "content": text}
    options = {"messages": [turn], "tools": None, "documents": None, "add_generation_prompt": True}
    try:
        with budget(turn):
            wrapped = _compiled(tokenizer.get_chat_template()).render(**options, **tokenizer.special_tokens_map)
    except Exception as error:  # a template is a program
        raise ConfigError(
            f"{where}: data.chat: the tokenizer's chat template fails: {message_of(error)} (write the turns in "
            "data.input_template)"
        ) from error
    # Every consumer tokenises with tokenizer(text), which adds the beginning-of-sequence token by itself.
    bos = tokenizer.bos_token
    adds_bos = bos is not None and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    return wrapped.removeprefix(bos) if adds_bos else wrapped


class _Generation(Extension):
    """`{% generation %}`, which marks what an assistant wrote: nothing to us."""

    tags = {"generation"}  # noqa: RUF012  # as the base class declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The statements between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@lru_cache(maxsize=16)
def _compiled(source: str) -> jinja2.Template:
    environment = TemplateEnvironment(
        finalize=_written, trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.globals.update(
        range=_range,
        namespace=Namespace,
        raise_exception=_raise_exception,
        strftime_now=_DATE.strftime,
    )
    environment.filters["tojson"] = charged("tojson", _to_json)
    return environment.from_string(source)


@jinja2.pass_context  # with the context nothing is computed while the template is compiled
def _written(context: Any, value: Any) -> Any:
    charge(size_of(value))
    return value


def _range(*numbers: int) -> Sequence[int]:
    values = range(*numbers)
    charge(len(values))
    return values


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    if (indent or 0) > 16:
        raise jinja2.TemplateError(f"tojson with an indent of {indent}; 16 is the most")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)
