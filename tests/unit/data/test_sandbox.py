"""Templates from anywhere: what they cannot write, name or use up. The letters and numbers name reported situations."""

from __future__ import annotations

from typing import Any

import pytest

from dhrd.data.templates import InputTemplate
from dhrd.errors import ConfigError, DataError
from dhrd.rationales.convert import convert_rationales, shape_of
from helpers.rows import write_jsonl

ROW = {"input_text": "the bed is hard", "meta": {"items": ["lamp"], "title": "T"}, "review text": "noisy", "n": 2}
_TOO_MUCH = "far more than the row contains|a format width above 9999|is undefined"


def render(source: str, columns: dict[str, Any] | None = None) -> str:
    return InputTemplate(source).render(ROW if columns is None else columns, where="f.jsonl:1")


@pytest.mark.parametrize("name", ["range", "dict", "lipsum", "cycler", "joiner", "namespace", "get_flashed_messages"])
def test_l10_a_name_of_jinja_does_not_stand_in_for_a_missing_column(name: str) -> None:
    assert render(f"{{{{ {name} }}}} nice", {name: "very"}) == "very nice"
    with pytest.raises(DataError, match=f"'{name}' is undefined; the row's columns are input_text"):
        render(f"{{{{ {name} }}}} nice", {"input_text": "a"})


@pytest.mark.parametrize(
    "source",
    [
        "{{ input_text.upper }}",
        "{{ [input_text.upper] }}",
        "{{ {'a': nope.b} }}",
        "{{ 'a' ~ input_text.upper }}",
        "{{ input_text | map('upper') }}",
        "{% macro f() %}{% endmacro %}{{ f }}",
        "{% for a in [1] %}{{ loop }}{% endfor %}",
        "{{ input_text.encode() }}",
    ],
)
def test_l10_what_is_no_data_is_not_written(source: str) -> None:
    with pytest.raises(DataError, match=r"input_template: .*(has no attribute|is undefined|not text)"):
        render(f"{source} nice")


def test_l10_a_nested_column_may_have_the_name_of_a_method() -> None:
    assert render("{{ meta.items[0] }} {{ meta.title }}") == "lamp T"
    assert render("{% for name, value in meta.items() %}{{ name }} {% endfor %}") == "items title "
    assert render("{{ input_text.strip().upper().split(' ')[-1] }}") == "HARD", "a method is used by calling it"


DOUBLED = {
    "divided": "{% set a = 2 ** 200000 %}{% set b = 2 ** 100000 %}" + "{% set q = a // b %}" * 60,
    "widths": "{{ ('{0:9999}' * 5500).format(1) }}",
    "widths of %": "{{ ('%9999d' * 5500) % ((1,) * 5500) }}",
    "fields": "{{ ('{0}' * 50000).format('x' * 100000) }}",
    "~": "{% set a = 'xxxxxxxxxx' %}" + "{% set a = a ~ a %}" * 60 + "{{ a }}",
    "+": "{% set a = 'xxxxxxxxxx' %}" + "{% set a = a + a %}" * 60 + "{{ a }}",
    "blocks": "{% set a %}xxxxxxxxxx{% endset %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 60 + "{{ a }}",
    "lists": "{% set a = [1] %}" + "{% set a = [a, a] %}" * 60 + "{{ a }}",
    "dicts": "{% set a = 1 %}" + "{% set a = {1: a, 2: a} %}" * 60 + "{{ a | tojson }}",
    "tuples": "{% set a = 1 %}" + "{% set a = (a, a) %}" * 60 + "{{ a | string }}",
    "numbers": "{% set a = 9 ** 99 %}" + "{% set a = a * a %}" * 40 + "{{ a }}",
    "macros": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
}
LARGE = [
    "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "{{ input_text*1000000 }}",
    "{{ 1000000 * [input_text] }}",
    "{{ input_text | center(2000000000) }}",
    "{{ input_text | center(width=2000000000) }}",
    "{% filter center(2000000000) %}a{% endfilter %}",
    "{{ lipsum(n=10000000) }}",
    "{{ input_text.ljust(2000000000) }}",
    "{{ input_text.center(*[2000000000]) }}",
    "{{ input_text | indent(2000000000, true) }}",
    "{{ '%2000000000d' | format(1) }}",
    "{{ '%*d' % (2000000000, 1) }}",
    "{{ '%.2000000000f' % 1 }}",
    "{{ '%-5.*f' % (2000000000, 1) }}",
    "{{ '%(a)2000000000d' % {'a': 1} }}",
    "{{ '{a:.2000000000f}'.format(a=1) }}",
    "{{ '{:2000000000}'.format(1) }}",
    "{{ '{:{}}'.format(1, 2000000000) }}",
    "{{ '{a:2000000000}'.format_map({'a': 1}) }}",
    "{% set a = 'a' * 90000 %}{{ a | replace('a', a) }}",
    "{% set a = 'a' * 90000 %}{{ a.replace('a', a) }}",
    "{% set a = 'a' * 90000 %}{{ a | join(a) }}",
    "{{ [1] | batch(2000000000, 'x') | list }}",
    "{{ [1] | slice(2000000000) | list }}",
    "{{ [[1]] | tojson(indent=2000000000) }}",
    "{{ 1.5 | round(2000000000, 'ceil') }}",
    "{{ ('\\t' * 1000).expandtabs(2000000) }}",
    "{{ ('ab ' * 1000) | wordwrap(1, wrapstring='x' * 900000) }}",
    "".join(f"{{% for a{i} in input_text %}}" for i in range(15)) + "x" + "{% endfor %}" * 15,
    "{% set t = 'a' * 400000 %}{% for a in input_text %}{% for b in 'abc' %}{{ 'b' in t }}{% endfor %}{% endfor %}",
]


@pytest.mark.parametrize("source", [*LARGE, *DOUBLED.values()], ids=[*(f"A4-{i}" for i in range(len(LARGE))), *DOUBLED])
def test_a4_what_a_template_computes_and_writes_is_bounded(source: str) -> None:
    with pytest.raises(DataError, match=_TOO_MUCH) as caught:
        render(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "source",
    ["{% if 1 %}" * 200 + "x" + "{% endif %}" * 200, "{% for a in b %}" * 40 + "x" + "{% endfor %}" * 40]
    + ["{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "{{ " + "9" * 5000 + " }}"],
)
def test_a4_a_template_that_python_cannot_compile_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.input_template: cannot be compiled") as caught:
        InputTemplate(source)
    assert "\n" not in str(caught.value)


def test_a4_the_bound_grows_with_the_row() -> None:
    text = "a long review, " * 200_000
    assert render("Review:\n{{ input_text | trim }}\n{{ input_text | replace('long', 'short') }}", {"input_text": text})
    joined = render("{{ turns | join('\n') }}", {"turns": ["line"] * 100_000})
    assert joined.count("\n") == 99_999
    assert render("{% for turn in turns %}{{ loop.index }}: {{ turn }}\n{% endfor %}", {"turns": ["a"] * 20_000})


def test_a4_ordinary_formats_are_written() -> None:
    assert render("{{ '**case 12345**: %-5s|' % input_text[:3] }} {{ '{{{}}} 12345 {:>4}'.format(n, n) }}") == (
        "**case 12345**: the  | {2} 12345    2"
    )
    assert render("{{ '%.2f of %5d, %(a)s' | replace('%(a)s', '') }}{{ '%.2f' | format(n) }}") == "%.2f of %5d, 2.00"


def test_a4_shapes_of_foreign_rationales_run_in_the_same_bounds(tmp_path: Any) -> None:
    source = write_jsonl(tmp_path / "s.jsonl", [{"id": "a", "rationale": "because"}])
    shape = shape_of("columns", rationale="{{ rationale * 100000000 }}")
    with pytest.raises(DataError, match="far more than the row contains"):
        convert_rationales(source, tmp_path / "o.jsonl", shape)
    assert not (tmp_path / "o.jsonl").exists()


NULL = [
    "{{ n ~ ' EUR' }}",
    "{{ n | string }}",
    "{{ n | upper }}",
    "{{ n | int }}",
    "{{ n | float }}",
    "{{ n | urlencode }}",
    "{{ '%s EUR' | format(n) }}",
    "{{ '%s EUR' % n }}",
    "{{ '%s %s' % (n, 1) }}",
    "{{ '{} EUR'.format(n) }}",
    "{{ tags | join(', ') }}",
    "{{ tags | map('upper') | join }}",
    "{% for tag in tags %}{{ tag ~ ',' }}{% endfor %}",
    "{% set m = n %}{{ m ~ '' }}",
]


@pytest.mark.parametrize("source", NULL)
def test_s6_null_is_written_by_no_operator_filter_or_method(source: str) -> None:
    """S6: the word None is never made of a missing value, in whatever way a template writes it."""
    with pytest.raises(DataError, match="null"):
        InputTemplate(source).render({"n": None, "tags": ["a", None]})
    assert InputTemplate(source).render({"n": "5", "tags": ["a", "b"]})


def test_s6_what_allows_null_still_does() -> None:
    columns = {"n": None, "tags": [1.0, None]}
    template = InputTemplate("{{ n or '-' }}{{ n | default('x', true) }}{{ n | tojson }}")
    assert template.render(columns, may_be_empty=True) == "-xnull"
    assert InputTemplate("{{ tags | select | join }}{% if n is none %}!{% endif %}").render(columns) == "1.0!"


class _Thing:
    pass


@pytest.mark.parametrize(
    "source",
    [
        "{{ thing }}",
        "{{ [thing] }}",
        "{{ thing ~ '' }}",
        "{{ thing | string }}",
        "{{ row }}",
        "{{ row.items() }}",
        "{{ tags | map('upper') ~ '' }}",
        "{% macro m() %}a{% endmacro %}{{ m ~ '' }}",
        "{% macro m() %}a{% endmacro %}{{ [m] | join }}",
        "{{ [[row.no]] }}",
        "{{ {'a': [row.no]} }}",
    ],
)
def test_l10_what_is_no_data_is_written_in_no_way(source: str) -> None:
    """L10: nothing that Python names by its address, and no code, however it is dressed."""
    with pytest.raises(DataError):
        InputTemplate(source).render({"thing": _Thing(), "tags": ["a"]})


def test_s7_half_an_emoji_of_the_template_itself() -> None:
    with pytest.raises(DataError, match="surrogates not allowed"):
        InputTemplate("{{ a }} {{ '\\ud83d' }}").render({"a": "b"})


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in input_text %}" + "x" * 70_000 + "{% endfor %}",
        "{% macro f() %}" + "x" * 70_000 + "{% endmacro %}" + "{{ f() }}" * 20,
        "{% macro f() %}" + "{{ caller() }}" * 20 + "{% endmacro %}{% call f() %}" + "x" * 70_000 + "{% endcall %}",
    ],
)
def test_the_templates_own_text_is_charged_where_it_may_be_written_often(source: str) -> None:
    with pytest.raises(DataError, match="far more than the row contains"):
        render(source)
    assert len(render("x" * 2_000_000)) == 2_000_000, "written once it is bounded by itself"
