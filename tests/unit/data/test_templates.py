"""The input template: what it writes, what it refuses, and that it cannot reach Python."""

from __future__ import annotations

from typing import Any

import pytest

from dhrd.data.templates import InputTemplate
from dhrd.errors import ConfigError, DataError
from helpers.rows import make_tokenizer


def error_of(source: str, columns: dict[str, Any]) -> str:
    with pytest.raises(DataError) as caught:
        InputTemplate(source).render(columns, where="f.jsonl:3")
    assert str(caught.value).startswith("f.jsonl:3: ")
    return str(caught.value).removeprefix("f.jsonl:3: ")


def test_the_default_is_the_text_as_it_is() -> None:
    text = "  spaces, <tags> & {{ braces }}\n\n"
    assert InputTemplate().render({"input_text": text, "other": 1}) == text
    assert InputTemplate().is_plain
    assert InputTemplate().variables == {"input_text"}


def test_columns_filters_and_the_last_new_line_are_written() -> None:
    template = InputTemplate("{{ a | upper }} {% for x in b %}[{{ x }}]{% endfor %} {{ c.d }}\n")
    assert template.render({"a": "text", "b": [1, 2], "c": {"d": 0.5}}) == "TEXT [1][2] 0.5\n"
    assert template.variables == {"a", "b", "c"}
    assert not template.is_plain


def test_plain_in_chat_is_not_plain() -> None:
    assert not InputTemplate(chat=True).is_plain


@pytest.mark.parametrize(
    "source",
    ["{{ a", "{% if a %}", "{{ a | nosuchfilter }}", "{% nosuchtag %}", "{{ a | attr('__class__') }}", "{{ self.x }}"],
)
def test_a_template_that_is_none_is_a_config_error(source: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.input_template: .*\(line 1\)"):
        InputTemplate(source)


def test_a_missing_column_is_named_with_those_there_are() -> None:
    message = error_of("{{ premise }} {{ hypothesis }}", {"premise": "p", "label": "x"})
    assert message == (
        "input_template: 'hypothesis' is undefined; the row's columns are label, premise "
        "(correct data.input_template or data.columns)"
    )


def test_a_null_column_is_not_written_as_a_word() -> None:
    message = error_of("{{ a }} {{ b }}", {"a": "x", "b": None})
    assert "a column that it writes is null" in message
    assert "a, b (null)" in message
    columns = {"a": "x", "b": None}
    assert InputTemplate('{{ a }}{{ b or "" }}{% if b %}!{% endif %}').render(columns) == "x"


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text_is_refused(text: str) -> None:
    assert error_of("{{ input_text }}", {"input_text": text}).startswith("input_text is empty; fill it in")
    assert error_of("{{ a }}", {"a": text}).startswith("the text of data.input_template is empty; fill it in")


@pytest.mark.parametrize(
    "source",
    ["{{ a + 1 }}", "{{ 1 / (a | length - 1) }}", "{{ a.b }}", "{% include 'x' %}", "{{ range(10**6) | list }}"],
)
def test_whatever_a_template_raises_names_the_row(source: str) -> None:
    assert error_of(source, {"a": "x"}).startswith("input_template: ")


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ a.__class__.__mro__ }}",
        "{{ a.__init__.__globals__ }}",
        "{{ a['__class__'] }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ '{0.__class__}'.format(a) }}",
        "{{ b.append(1) }}",
        "{{ open('/etc/passwd') }}",
    ],
)
def test_the_sandbox_does_not_reach_python(source: str) -> None:
    columns = {"a": "x", "b": [0]}
    assert "input_template" in error_of(f"text {source}", columns)
    assert columns["b"] == [0]


class TestChat:
    """One user turn in the tokenizer's own chat template."""

    def test_the_text_is_one_user_turn_ready_for_the_answer(self) -> None:
        tokenizer = make_tokenizer(bos=None, chat=True)
        text = InputTemplate("Q: {{ q }}", chat=True).render({"q": "why?"}, tokenizer=tokenizer)
        assert text == "<|user|>Q: why?<|end|><|assistant|>"

    def test_the_beginning_token_is_not_doubled(self) -> None:
        tokenizer = make_tokenizer(bos="<bos>", chat=True)
        text = InputTemplate(chat=True).render({"input_text": "hello"}, tokenizer=tokenizer)
        ids = tokenizer(text)["input_ids"]
        assert ids.count(tokenizer.bos_token_id) == 1
        assert ids[0] == tokenizer.bos_token_id
        turns = [{"role": "user", "content": "hello"}]
        whole = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
        assert ids == whole

    def test_the_beginning_token_stays_where_the_tokenizer_adds_none(self) -> None:
        tokenizer = make_tokenizer(bos=None, chat=True)
        tokenizer.add_special_tokens({"bos_token": "<s>"})
        text = InputTemplate(chat=True).render({"input_text": "hello"}, tokenizer=tokenizer)
        assert text.startswith("<s><|user|>")
        assert tokenizer(text)["input_ids"].count(tokenizer.bos_token_id) == 1

    def test_an_empty_text_is_refused_before_it_is_wrapped(self) -> None:
        with pytest.raises(DataError, match="is empty"):
            InputTemplate(chat=True).render({"input_text": " "}, tokenizer=make_tokenizer(chat=True))

    def test_a_tokenizer_without_a_chat_template_is_named(self) -> None:
        with pytest.raises(ConfigError, match=r"data\.chat: the tokenizer has no chat template; write the turns"):
            InputTemplate(chat=True).render({"input_text": "a"}, tokenizer=make_tokenizer())
