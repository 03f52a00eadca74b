"""The tokenizer's chat template: what it gives, and that it is bounded. The letters name reported situations."""

from __future__ import annotations

import pytest

from dhrd.data.chat import as_chat
from dhrd.data.templates import InputTemplate
from dhrd.errors import ConfigError, DataError
from helpers.rows import make_tokenizer

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
        (
            "{% set ns = namespace(n=1) %}" + "{% set ns.n = namespace(v=[ns.n, ns.n]) %}" * 60 + "{{ ns.n }}",
            "far more",
        ),
        ("{% set a = [1] * 500000 %}{% for i in range(99) %}{{ a }}{{ a | tojson }}{% endfor %}", "far more than"),
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


def test_the_date_is_one_for_all_time() -> None:
    """What a classifier was trained on it reads tomorrow too; a template that asks for the date is not refused."""
    tokenizer = make_tokenizer(bos=None)
    tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }}: {{ messages[0].content }}"
    assert as_chat("hello", tokenizer, "row 0") == "26 Jul 2024: hello"
