"""The input template: what it writes, what it refuses, and that it cannot reach Python."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dhrd.config import DataSettings
from dhrd.data.sources import open_source
from dhrd.data.templates import InputTemplate
from dhrd.errors import ConfigError, DataError
from helpers.rows import write_jsonl


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


def test_a_column_named_row_is_read_as_it_is_and_hides_no_other() -> None:
    by_name = InputTemplate('{{ row["the text"] }} {{ row["row"] }}')
    assert by_name.render({"row": 7, "the text": "a"}) == "a 7"
    assert by_name.variables == {"row", "the text"}
    assert InputTemplate("{{ row }} {{ text }}").render({"row": 7, "text": "a"}) == "7 a"
    assert InputTemplate("{{ row.title }}").render({"row": {"title": "inner"}, "title": "outer"}) == "inner"
    assert InputTemplate("{{ row.title }}").render({"title": "outer"}) == "outer"


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
    assert "a column that it uses is null" in message
    assert "a, b (null)" in message
    columns = {"a": "x", "b": None}
    assert InputTemplate('{{ a }}{{ b or "" }}{% if b %}!{% endif %}').render(columns) == "x"


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text_is_refused(text: str) -> None:
    assert error_of("{{ input_text }}", {"input_text": text}).startswith("input_text is empty; fill it in")
    assert error_of("{{ a }}", {"a": text}).startswith("the text of data.input_template is empty; fill it in")


@pytest.mark.parametrize("columns", [{"a": "", "b": " \n"}, {"a": None, "b": ""}, {"b": "\t"}])
@pytest.mark.parametrize(
    "source",
    ["A: {{ a | default('', true) }}\nB: {{ b or '' }}", "{% for k in row %}{{ k }}: {{ row[k] or '' }}{% endfor %}"],
)
def test_a_row_without_anything_is_no_text_whatever_stands_around_it(source: str, columns: dict[str, Any]) -> None:
    message = error_of(source, columns)
    assert message.startswith("there is nothing in ") and message.endswith("; fill it in or remove the row")
    assert InputTemplate(source).render(columns, may_be_empty=True)
    assert InputTemplate(source).render({"a": "x", "b": ""})
    assert InputTemplate(source).render({"a": "", "b": 0})


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


ROW = {"input_text": "the bed is hard", "meta": {"items": ["lamp"], "title": "T"}, "review text": "noisy", "n": 2}


def render(source: str, columns: dict[str, Any] | None = None) -> str:
    return InputTemplate(source).render(ROW if columns is None else columns, where="f.jsonl:1")


@pytest.mark.parametrize("source", ["{{ self }}", "{{ self.x }}", "{% if self %}a{% endif %}"])
def test_l10_self_is_refused_where_it_is_written(source: str) -> None:
    with pytest.raises(ConfigError, match=r'self is a name of Jinja2; write row\["self"\] for a column'):
        InputTemplate(source)
    assert render('{{ row["self"] }}', {"self": "me"}) == "me"


def test_l10_any_column_can_be_named() -> None:
    template = InputTemplate('{{ row["review text"] }}, {{ row.n }}')
    assert template.render(ROW) == "noisy, 2"
    assert template.variables == {"review text", "n"}
    assert render("{{ row }}", {"row": "a column of that name"}) == "a column of that name"
    with pytest.raises(DataError, match=r"'review' is undefined; .*write other names as row\[\"NAME\"\]"):
        render("{{ review-text }}", {"review-text": "a"})


def test_l10_missing_columns_are_refused_from_files_and_from_python_alike(tmp_path: Any) -> None:
    settings = DataSettings(input_template="{{ range }} nice")
    path = write_jsonl(tmp_path / "a.jsonl", [{"input_text": "a"}])
    for rows in (path, [{"input_text": "a"}]):
        with pytest.raises(DataError, match="'range' is undefined"):
            open_source(rows, settings).load(labels_required=False)


def test_a_plain_template_with_a_line_end_keeps_it() -> None:
    assert render("{{ input_text }}\n") == "the bed is hard\n"
    assert render("{{ input_text }}") == "the bed is hard"


@pytest.mark.parametrize("value", [float("nan"), None])
def test_s6_a_missing_number_is_null_within_a_template(tmp_path: Any, value: Any) -> None:
    settings = DataSettings(input_template="{{ amount }} EUR")
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"amount": value}) + "\n")
    for rows in (path, [{"amount": value}]):
        with pytest.raises(DataError, match="a column that it uses is null"):
            open_source(rows, settings).load(labels_required=False)
