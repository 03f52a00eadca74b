"""The input x: from columns to tokens, what is cut, and what may not stand at its end."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import normalizers

from dhrd.config import DataSettings
from dhrd.data.inputs import EncodedInput, InputEncoder
from dhrd.data.sources import open_source
from dhrd.data.templates import InputTemplate
from dhrd.errors import DataError
from helpers.rows import TOKENIZERS, make_tokenizer

PAIR = InputTemplate("Premise: {{ premise }}\nHypothesis: {{ hypothesis }}\nEntailed?")


def encode_text(text: str, **options: Any) -> EncodedInput:
    options = {"tokenizer": make_tokenizer(), **options}
    (item,) = InputEncoder(**options).encode([({"input_text": text}, "f:1")])
    return item


class TestInputs:
    """x: from columns to tokens, the same in training and at inference."""

    @pytest.mark.parametrize("kind", TOKENIZERS)
    def test_x_is_what_the_tokenizer_makes_of_the_text(self, kind: str) -> None:
        tokenizer = make_tokenizer(**TOKENIZERS[kind])
        template = InputTemplate(chat=kind == "chat")
        for text in ("a", "the thin thing: in the end", "Ünïcödé 🙂\n", " leading"):
            item = encode_text(text, tokenizer=tokenizer, template=template)
            assert item.input_ids == tokenizer(item.text)["input_ids"]
            assert text in item.text
            assert item == EncodedInput(item.text, item.input_ids)
            assert item.input_ids.count(tokenizer.bos_token_id) == (kind in ("adds bos", "chat"))

    @pytest.mark.parametrize("kind", ["pad is eos", "separate pad", "adds bos", "no pad"])
    def test_plain_text_is_cut_on_the_right(self, kind: str) -> None:
        tokenizer = make_tokenizer(**TOKENIZERS[kind])
        text = "first words and many more of them"
        whole = tokenizer(text)["input_ids"]
        item = encode_text(text, tokenizer=tokenizer, max_input_tokens=12)
        assert item.input_ids == whole[:12]
        assert item.was_cut
        assert text.startswith(item.text)
        assert tokenizer(item.text)["input_ids"] == item.input_ids
        exact = encode_text(text, tokenizer=tokenizer, max_input_tokens=len(whole))
        assert (exact.input_ids, exact.was_cut) == (whole, False)

    def test_cutting_one_row_leaves_the_tokenizer_and_other_rows_alone(self) -> None:
        encoder = InputEncoder(tokenizer=make_tokenizer(), max_input_tokens=8)
        rows = [({"input_text": text}, "f:1") for text in ("x" * 50, "short", "y" * 50, "small")]
        assert [len(item.input_ids) for item in encoder.encode(rows)] == [8, 5, 8, 5]
        assert len(encoder.tokenizer("z" * 50)["input_ids"]) == 50

    @pytest.mark.parametrize("kind", TOKENIZERS)
    def test_a_template_keeps_its_ending_and_shortens_the_longest_field(self, kind: str) -> None:
        tokenizer = make_tokenizer(**TOKENIZERS[kind])
        template = replace_chat(PAIR, chat=kind == "chat")
        columns = {"premise": "word " * 40, "hypothesis": "It is so."}
        encoder = InputEncoder(tokenizer=tokenizer, template=template, max_input_tokens=90)
        (item,) = encoder.encode([(columns, "f:1")])
        assert item.was_cut
        assert len(item.input_ids) <= 90
        assert item.input_ids == tokenizer(item.text)["input_ids"]
        ending = "\nHypothesis: It is so.\nEntailed?" + ("<|end|><|assistant|>" if kind == "chat" else "")
        assert item.text.endswith(ending)
        premise = item.text.removesuffix(ending).partition("Premise: ")[2]
        assert columns["premise"].startswith(premise)
        one_more = {**columns, "premise": columns["premise"][: len(premise) + 2]}
        longer = template.render(one_more, tokenizer=tokenizer)
        assert len(tokenizer(longer)["input_ids"]) > 90, "no more is cut than must be"

    def test_the_longest_field_is_shortened_whichever_it_is(self) -> None:
        encoder = InputEncoder(tokenizer=make_tokenizer(), template=PAIR, max_input_tokens=80)
        long, short = "w" * 100, "It is so."
        for columns in ({"premise": long, "hypothesis": short}, {"premise": short, "hypothesis": long}):
            (item,) = encoder.encode([(columns, "f:1")])
            assert short in item.text
            assert item.text.endswith("\nEntailed?")
            assert len(item.input_ids) == 80

    def test_a_second_field_is_shortened_where_the_longest_is_not_enough(self) -> None:
        encoder = InputEncoder(tokenizer=make_tokenizer(), template=PAIR, max_input_tokens=50)
        (item,) = encoder.encode([({"premise": "p" * 60, "hypothesis": "h" * 50}, "f:1")])
        assert len(item.input_ids) == 50
        assert item.text.startswith("Premise: \nHypothesis: hhh")
        assert item.text.endswith("h\nEntailed?")

    def test_a_template_that_is_too_long_by_itself_is_refused(self) -> None:
        encoder = InputEncoder(tokenizer=make_tokenizer(), template=PAIR, max_input_tokens=20)
        with pytest.raises(DataError) as caught:
            encoder.encode([({"premise": "p", "hypothesis": "h"}, "f:1")])
        assert str(caught.value) == (
            "f:1: the template alone is longer than max_input_tokens (20); "
            "raise data.max_input_tokens or shorten data.input_template"
        )

    @pytest.mark.parametrize(
        "source", ["{% for name, value in row.items() %}{{ value }}\n{% endfor %}!", "{{ row['a text'] }}!"]
    )
    def test_columns_that_a_template_reads_by_row_are_shortened_too(self, source: str) -> None:
        encoder = InputEncoder(tokenizer=make_tokenizer(), template=InputTemplate(source), max_input_tokens=30)
        (item,) = encoder.encode([({"a text": "t" * 90, "n": 7}, "f:1")])
        assert item.was_cut and len(item.input_ids) == 30
        assert item.text.startswith("tttt") and item.text.endswith("!")

    def test_what_is_no_column_of_text_cannot_be_shortened(self) -> None:
        template = InputTemplate("{% for turn in turns %}{{ turn.text }}{% endfor %}")
        encoder = InputEncoder(tokenizer=make_tokenizer(), template=template, max_input_tokens=20)
        with pytest.raises(DataError, match="reads no column of text that could be shortened; raise"):
            encoder.encode([({"turns": [{"text": "t" * 90}], "unread": "text"}, "f:1")])

    def test_numbers_in_a_template_are_not_shortened(self) -> None:
        encoder = InputEncoder(
            tokenizer=make_tokenizer(), template=InputTemplate("{{ n }} {{ text }}!"), max_input_tokens=20
        )
        (item,) = encoder.encode([({"n": 1234567890, "text": "t" * 30}, "f:1")])
        assert item.text == "1234567890 " + "t" * 8 + "!"

    def test_a_missing_column_names_the_row(self) -> None:
        with pytest.raises(DataError, match=r"^f:7: input_template: 'hypothesis' is undefined"):
            InputEncoder(tokenizer=make_tokenizer(), template=PAIR).encode([({"premise": "p"}, "f:7")])

    def test_a_text_without_tokens_is_refused(self) -> None:
        tokenizer = make_tokenizer()
        tokenizer.backend_tokenizer.normalizer = normalizers.Replace("~", "")
        with pytest.raises(DataError, match=r"^f:1: the text has no tokens"):
            encode_text("~~", tokenizer=tokenizer)

    def test_no_rows_are_no_rows(self) -> None:
        assert InputEncoder(tokenizer=make_tokenizer()).encode([]) == []


def test_rows_that_were_read_are_not_rendered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = DataSettings(input_template="Q: {{ q }}")
    examples = open_source([{"q": "why", "label": "a"}, {"q": "how", "label": "b"}], settings).load()
    encoder = InputEncoder(tokenizer=make_tokenizer(), template=InputTemplate(settings.input_template))
    expected = encoder.encode([(example.columns(), example.where) for example in examples])
    other = InputEncoder(tokenizer=make_tokenizer(), template=InputTemplate("{{ q }}?"))
    assert [item.text for item in other.encode_examples(examples)] == ["why?", "how?"]
    monkeypatch.setattr(InputTemplate, "render", None)
    assert encoder.encode_examples(examples) == expected
    chat = InputEncoder(tokenizer=make_tokenizer(chat=True), template=InputTemplate(settings.input_template, chat=True))
    assert chat.encode_examples(examples)[0].text == "<|user|>Q: why<|end|><|assistant|>"


def replace_chat(template: InputTemplate, *, chat: bool) -> InputTemplate:
    return InputTemplate(template.source, chat=chat)


class TestPadEnding:
    """An input whose last token is the padding token, where stock classifiers pool one token early."""

    @pytest.mark.parametrize(("kind", "text"), [("pad is eos", "the end<eos>"), ("separate pad", "the end<pad>")])
    def test_training_refuses_it_naming_the_row(self, kind: str, text: str) -> None:
        tokenizer = make_tokenizer(**TOKENIZERS[kind])
        with pytest.raises(DataError) as caught:
            encode_text(text, tokenizer=tokenizer)
        message = str(caught.value)
        assert message.startswith(f"f:1: the input ends in the padding token ({tokenizer.pad_token!r})")
        assert "remove it from the text" in message

    @pytest.mark.parametrize(("kind", "text"), [("pad is eos", "the end<eos>"), ("separate pad", "the end<pad>")])
    def test_prediction_appends_a_new_line(self, kind: str, text: str) -> None:
        tokenizer = make_tokenizer(**TOKENIZERS[kind])
        item = encode_text(text, tokenizer=tokenizer, mend_pad_ending=True)
        assert item.was_mended
        assert item.text == text + "\n"
        assert item.input_ids == tokenizer(text + "\n")["input_ids"]
        assert item.input_ids[-1] != tokenizer.pad_token_id

    def test_a_mended_input_stays_within_the_limit(self) -> None:
        tokenizer = make_tokenizer(pad="<eos>")
        text = "abcdefg<eos>"
        assert len(tokenizer(text)["input_ids"]) == 8
        item = encode_text(text, tokenizer=tokenizer, max_input_tokens=8, mend_pad_ending=True)
        assert item.was_mended
        assert len(item.input_ids) == 8
        assert item.input_ids[-1] == tokenizer("\n")["input_ids"][-1]

    def test_it_is_found_after_cutting_too(self) -> None:
        tokenizer = make_tokenizer(pad="<eos>")
        with pytest.raises(DataError, match="ends in the padding token"):
            encode_text("abc<eos>and much more", tokenizer=tokenizer, max_input_tokens=4)
        item = encode_text("abc<eos>and more", tokenizer=tokenizer, max_input_tokens=4, mend_pad_ending=True)
        assert (item.was_cut, item.was_mended, len(item.input_ids)) == (True, True, 4)

    @pytest.mark.parametrize(
        ("kind", "text"),
        [("separate pad", "the end<eos>"), ("no pad", "the end<eos>"), ("pad is eos", "the <eos> end")],
    )
    def test_other_inputs_are_left_alone(self, kind: str, text: str) -> None:
        tokenizer = make_tokenizer(**TOKENIZERS[kind])
        for mend in (False, True):
            item = encode_text(text, tokenizer=tokenizer, mend_pad_ending=mend)
            assert (item.text, item.was_mended) == (text, False)
