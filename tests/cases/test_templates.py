"""Templates from anywhere: what they cannot write, name or use up. The letters and numbers name reported situations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dhrd.config import DataSettings
from dhrd.data.chat import as_chat
from dhrd.data.sources import open_source
from dhrd.data.templates import InputTemplate
from dhrd.errors import ConfigError, DataError
from dhrd.rationales.convert import convert_rationales, shape_of
from helpers.rows import make_tokenizer, write_jsonl

ROW = {"input_text": "the bed is hard", "meta": {"items": ["lamp"], "title": "T"}, "review text": "noisy", "n": 2}
_TOO_MUCH = "far more than the row holds|a width of five digits|is undefined"


def render(source: str, columns: dict[str, Any] | None = None) -> str:
    return InputTemplate(source).render(ROW if columns is None else columns, where="f.jsonl:1")


@pytest.mark.parametrize("name", ["range", "dict", "lipsum", "cycler", "joiner", "namespace", "get_flashed_messages"])
def test_l10_a_name_of_jinja_does_not_stand_in_for_a_missing_column(name: str) -> None:
    assert render(f"{{{{ {name} }}}} nice", {name: "very"}) == "very nice"
    with pytest.raises(DataError, match=f"'{name}' is undefined; the row's columns are input_text"):
        render(f"{{{{ {name} }}}} nice", {"input_text": "a"})


@pytest.mark.parametrize("source", ["{{ self }}", "{{ self.x }}", "{% if self %}a{% endif %}"])
def test_l10_self_is_refused_where_it_is_written(source: str) -> None:
    with pytest.raises(ConfigError, match=r'self is a name of Jinja2; write row\["self"\] for a column'):
        InputTemplate(source)
    assert render('{{ row["self"] }}', {"self": "me"}) == "me"


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


def test_l10_any_column_can_be_named() -> None:
    template = InputTemplate('{{ row["review text"] }}, {{ row.n }}')
    assert template.render(ROW) == "noisy, 2"
    assert template.variables == {"review text", "n"}
    assert render("{{ row }}", {"row": "a column of that name"}) == "a column of that name"
    with pytest.raises(DataError, match=r"'review' is undefined; .*a name with other signs is written row\[\"NAME\"\]"):
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


DOUBLED = {
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
    with pytest.raises(DataError, match="far more than the row holds"):
        convert_rationales(source, tmp_path / "o.jsonl", shape)
    assert not (tmp_path / "o.jsonl").exists()


CHAT = {
    "roles": "{% for m in messages %}<|{{ m['role'] }}|>{{ m.content | trim }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "chatml": "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nHelp.<|im_end|>\n' }}{% endif %}"
    "{%- for message in messages %}\n    {{- '<|im_start|>' + message.role + '\n' }}{{ message.content }}"
    "{{- '<|im_end|>\n' }}\n"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}",
    "namespace, tools, undefined": "{{- bos_token }}{% set ns = namespace(first=true, last=messages | length - 1) %}"
    "{%- if tools is not none and tools %}tools{% endif %}{% if enable_thinking %}think{% endif %}\n"
    "{%- for message in messages[::-1] %}{% set index = (messages | length - 1) - loop.index0 %}"
    "{%- if ns.first and message.role == 'user' and message.content is string %}{% set ns.first = false %}"
    "{{ '[INST]' ~ message.content.split('</think>')[-1].lstrip('\n') ~ '[/INST]' }}{{ index }}{% endif %}"
    "{%- if message.tool_calls %}{{ message.tool_calls | tojson }}{% endif %}{% if loop.first %}{{ message | tojson }}"
    "{% endif %}{%- endfor %}{% generation %}x{% endgeneration %}{% for i in range(3) %}{% if i == 1 %}{% break %}"
    "{% endif %}{{ i }}{% endfor %}{{ eos_token }}{% macro f(x) %}<{{ x }}>{% endmacro %}"
    "{{ f(date_string) }}{{ none }}",
}


@pytest.mark.parametrize("name", CHAT)
def test_a4_a_chat_template_gives_what_transformers_gives(name: str) -> None:
    tokenizer = make_tokenizer(bos=None)
    tokenizer.chat_template = CHAT[name]
    for text in ("a plain text", "quotes \"'<>& \n and Ünïcödé </think>\nrest"):
        turns = [{"role": "user", "content": text}]
        theirs = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        assert as_chat(text, tokenizer, "row 0") == theirs


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}", "far more than"),
        ("{{ messages[0].content * 1000000000 }}", "far more than"),
        ("{% set ns = namespace(a='xx') %}" + "{% set ns.a = ns.a ~ ns.a %}" * 60, "far more than"),
        ("{{ raise_exception('only the system speaks') }}", "only the system speaks"),
        ("{% if %}", "Expected an expression"),
        ("{{ messages.__class__.__mro__ }}", "unsafe|not subscriptable|has no attribute"),
    ],
)
def test_a4_a_chat_template_is_bounded_and_fails_in_one_line(source: str, message: str) -> None:
    tokenizer = make_tokenizer(bos=None)
    tokenizer.chat_template = source
    with pytest.raises(
        ConfigError, match=f"row 0: data.chat: the tokenizer's chat template fails: .*({message})"
    ) as caught:
        as_chat("text", tokenizer, "row 0")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), None])
def test_s6_a_missing_number_is_null_within_a_template(tmp_path: Any, value: Any) -> None:
    settings = DataSettings(input_template="{{ amount }} EUR")
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"amount": value}) + "\n")
    for rows in (path, [{"amount": value}]):
        with pytest.raises(DataError, match="a column that it writes is null"):
            open_source(rows, settings).load(labels_required=False)
