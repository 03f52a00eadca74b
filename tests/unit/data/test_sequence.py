"""The sequence s = x, rationale, answer: what is cut and what never, and which row's rationale it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from dhrd.data.inputs import InputEncoder
from dhrd.data.records import EncodedExample, Example, LabelSet
from dhrd.data.sequence import SequenceEncoder, SequenceTemplate
from dhrd.errors import DataError, ModelError
from helpers.rows import TOKENIZERS, make_tokenizer

LABELS = LabelSet(("no", "yes"))


def make_encoder(**options: Any) -> SequenceEncoder:
    limit = options.pop("max_input_tokens", 512)
    tokenizer = options.pop("tokenizer", None) or make_tokenizer()
    return SequenceEncoder(
        **{"inputs": InputEncoder(tokenizer=tokenizer, max_input_tokens=limit), "labels": LABELS, **options}
    )


def example(number: int = 0, *, rationale: str | None = "because", label: Any = "yes") -> Example:
    return Example(
        id=f"r{number}", input_text=f"input {number}", label=label, rationale=rationale, where=f"f:{number + 1}"
    )


def written(encoder: SequenceEncoder, row: EncodedExample) -> str:
    return encoder.inputs.tokenizer.decode(row.continuation_ids)


class TestSequence:
    """s = x ⊕ continuation."""

    @pytest.mark.parametrize("kind", TOKENIZERS)
    def test_the_sequence_is_input_reason_answer_end(self, kind: str) -> None:
        encoder = make_encoder(tokenizer=make_tokenizer(**TOKENIZERS[kind]))
        data = encoder.encode([example()])
        (row,) = data.examples
        tokenizer = encoder.inputs.tokenizer
        assert row.input_ids == tokenizer("input 0")["input_ids"]
        assert written(encoder, row) == "\n\nReasoning: because\nAnswer: yes<eos>"
        assert row.continuation_ids.count(tokenizer.eos_token_id) == 1
        assert tokenizer.bos_token_id is None or tokenizer.bos_token_id not in row.continuation_ids
        assert (row.id, row.label) == ("r0", (1,))
        assert data.texts == ["input 0"]

    def test_no_token_merges_across_the_border(self) -> None:
        encoder = make_encoder(template=SequenceTemplate(reason=" why: ", answer=" so: "))
        tokenizer = encoder.inputs.tokenizer
        (row,) = encoder.encode([replace(example(), input_text="Reason:")]).examples
        assert row.input_ids == tokenizer("Reason:")["input_ids"]
        whole = tokenizer("Reason: why: because")["input_ids"]
        assert whole[: len(row.input_ids)] != row.input_ids, "in one piece, the border would be another token"
        assert written(encoder, row) == " why: because so: yes<eos>"

    def test_x_is_the_same_with_and_without_a_rationale(self) -> None:
        rows = [example(i, rationale=rationale) for i, rationale in enumerate(["because", None, ""])]
        with_reasoning = make_encoder().encode(rows)
        without = make_encoder(with_reasoning=False).encode(rows)
        assert [row.input_ids for row in with_reasoning.examples] == [row.input_ids for row in without.examples]
        assert [bool(row.continuation_ids) for row in with_reasoning.examples] == [True, False, False]
        assert [row.continuation_ids for row in without.examples] == [[], [], []]
        assert (with_reasoning.num_with_rationale, without.num_with_rationale) == (1, 0)
        assert [row.label for row in without.examples] == [(1,)] * 3

    def test_the_rationale_is_cut_and_the_answer_never(self) -> None:
        x, reason, answer = "input 0", "\n\nReasoning: abcdefghijklm", "\nAnswer: yes<eos>"
        tokenizer = make_tokenizer()
        num_input, num_reason, num_answer = (len(tokenizer(text)["input_ids"]) for text in (x, reason, answer))
        full = num_input + num_reason + num_answer
        num_cut = 0
        for limit in range(num_input, full + 5):
            encoder = make_encoder(tokenizer=tokenizer, max_input_tokens=num_input, max_sequence_tokens=limit)
            data = encoder.encode([example(rationale="abcdefghijklm")])
            (row,) = data.examples
            assert row.input_ids == tokenizer(x)["input_ids"]
            text = written(encoder, row)
            assert text.endswith(answer)
            assert reason.startswith(text.removesuffix(answer))
            # where not even the answer fits beside the input, it is kept all the same
            expected = max(num_input + num_answer, min(full, limit))
            assert len(row.input_ids) + len(row.continuation_ids) == expected
            assert data.num_rationales_cut == (limit < full)
            num_cut += data.num_rationales_cut
        assert num_cut == num_reason + num_answer

    def test_cuts_are_counted(self) -> None:
        encoder = make_encoder(max_input_tokens=5, max_sequence_tokens=40)
        rows = [example(0, rationale="r" * 50), example(1, rationale=None), example(2, rationale="r")]
        rows[2] = replace(rows[2], input_text="in")
        data = encoder.encode(rows)
        assert (len(data), data.num_inputs_cut, data.num_rationales_cut, data.num_with_rationale) == (3, 2, 1, 2)
        assert data.summary() == "3 rows, 2 with a rationale; cut: 2 inputs, 1 rationales"

    def test_the_space_around_a_rationale_is_not_taught(self) -> None:
        encoder = make_encoder()
        (row,) = encoder.encode([example(rationale="  because \n")]).examples
        assert written(encoder, row) == "\n\nReasoning: because\nAnswer: yes<eos>"

    def test_answers_are_in_the_task_s_words_and_several_are_joined(self) -> None:
        encoder = make_encoder(labels=LabelSet(("false", "true"), ("wrong", "right")))
        (row,) = encoder.encode([example(label="true")]).examples
        assert written(encoder, row).endswith("\nAnswer: right<eos>")
        encoder = make_encoder(labels=LabelSet(("a", "b", "c"), multi_label=True))
        several, none = encoder.encode([example(0, label=("c", "a")), example(1, label=())]).examples
        assert (several.label, none.label) == ((0, 2), ())
        assert written(encoder, several).endswith("\nAnswer: a, c<eos>")
        assert written(encoder, none).endswith("\nAnswer: none<eos>")

    def test_without_an_end_token_the_reasoning_head_cannot_learn_to_stop(self) -> None:
        tokenizer = make_tokenizer(eos=None)
        with pytest.raises(ModelError, match="no eos token"):
            make_encoder(tokenizer=tokenizer).encode([example()])
        assert len(make_encoder(tokenizer=tokenizer, with_reasoning=False).encode([example()])) == 1
        assert len(make_encoder(tokenizer=tokenizer).encode([example(rationale=None)])) == 1

    def test_an_unknown_label_names_the_row(self) -> None:
        with pytest.raises(DataError, match=r"^f:2: label: 'maybe' is unknown"):
            make_encoder().encode([example(0), example(1, label="maybe")])

    def test_rows_without_a_label_are_inputs_alone(self) -> None:
        (row,) = make_encoder(with_reasoning=False).encode([example(label=None)]).examples
        assert row.label == ()

    def test_many_rows_in_batches_are_as_rows_one_by_one(self) -> None:
        encoder = make_encoder(max_input_tokens=8, max_sequence_tokens=40)
        rows = [example(i, rationale=None if i % 3 else f"because of {i}") for i in range(1100)]
        data = encoder.encode(rows)
        assert [row.id for row in data.examples] == [row.id for row in rows]
        for i in (0, 1, 511, 512, 513, 1023, 1024, 1099):
            assert data.examples[i] == encoder.encode([rows[i]]).examples[0]
        assert data.num_with_rationale == 367
        assert len(data.texts) == 1100

    def test_no_rows_are_no_rows(self) -> None:
        assert len(make_encoder().encode([])) == 0


class TestRationaleMode:
    """The ablations of the paper's Table 2: which rationale, answer and class a row is taught."""

    ROWS = tuple(
        example(i, rationale=None if i in (3, 7) else f"reason {i}", label=("no", "yes")[i % 2]) for i in range(12)
    )
    REASONED = tuple(row.id for row in ROWS if row.rationale)

    def taught(self, mode: str, rows: tuple[Example, ...] = ROWS, seed: int = 0) -> dict[str, tuple[str, str, int]]:
        """Row id -> (rationale, answer, class), as the model is taught them."""
        encoder = make_encoder(rationale_mode=mode, seed=seed)
        result = {}
        for row in encoder.encode(rows).examples:
            reason, _, answer = written(encoder, row).partition("\nAnswer: ")
            result[row.id] = (reason.removeprefix("\n\nReasoning: "), answer.removesuffix("<eos>"), row.label[0])
        return result

    def test_aligned_is_the_row_s_own(self) -> None:
        taught = self.taught("aligned")
        for i, row in enumerate(self.ROWS):
            own = (f"reason {i}", row.label, i % 2) if row.rationale else ("", "", i % 2)
            assert taught[row.id] == own

    def test_label_only_has_answers_on_the_same_rows(self) -> None:
        taught = self.taught("label_only")
        for i, row in enumerate(self.ROWS):
            assert taught[row.id] == ("", row.label if row.rationale else "", i % 2)

    def test_label_only_has_answers_on_all_rows_where_none_has_a_rationale(self) -> None:
        bare = tuple(replace(row, rationale=None) for row in self.ROWS)
        taught = self.taught("label_only", bare)
        assert [taught[row.id] for row in bare] == [("", ("no", "yes")[i % 2], i % 2) for i in range(12)]

    def test_shuffled_moves_rationales_alone(self) -> None:
        taught, aligned = self.taught("shuffled"), self.taught("aligned")
        assert Counter(reason for reason, _, _ in taught.values()) == Counter(one for one, _, _ in aligned.values())
        for row in self.ROWS:
            assert taught[row.id][1:] == aligned[row.id][1:], "answer and class stay"
            if row.id in self.REASONED:
                assert taught[row.id][0] != aligned[row.id][0], "no row keeps its own"

    def test_shuffled_with_label_moves_rationale_answer_and_class_together(self) -> None:
        taught, aligned = self.taught("shuffled_with_label"), self.taught("aligned")
        donors = {reason: row for row, (reason, _, _) in aligned.items() if reason}
        for row in self.ROWS:
            if row.id in self.REASONED:
                donor = donors[taught[row.id][0]]
                assert donor != row.id
                assert taught[row.id] == aligned[donor]
            else:
                assert taught[row.id] == aligned[row.id]
        assert Counter(taught.values()) == Counter(aligned.values())

    def test_a_row_stays_in_its_own_group(self) -> None:
        grouped = [replace(row, group=f"g{i // 2}") for i, row in enumerate(self.ROWS)]
        encoded = make_encoder(rationale_mode="shuffled_with_label").encode(grouped).examples
        assert [row.group for row in encoded] == [row.group for row in grouped]

    @pytest.mark.parametrize("mode", ["shuffled", "shuffled_with_label"])
    @pytest.mark.parametrize("num_rows", [2, 3, 50])
    def test_donors_are_a_derangement_and_recorded(self, mode: str, num_rows: int) -> None:
        rows = [example(i, rationale=f"reason {i}") for i in range(num_rows)]
        for seed in range(5):
            donors = make_encoder(rationale_mode=mode, seed=seed).encode(rows).donors
            assert sorted(donors) == sorted(donors.values()) == sorted(row.id for row in rows)
            assert all(row != donor for row, donor in donors.items())

    def test_the_recorded_donors_are_those_that_were_taught(self) -> None:
        encoder = make_encoder(rationale_mode="shuffled", seed=4)
        donors = encoder.encode(self.ROWS).donors
        taught = self.taught("shuffled", seed=4)
        assert sorted(donors) == sorted(self.REASONED)
        for row, donor in donors.items():
            assert taught[row][0] == f"reason {donor.removeprefix('r')}"

    def test_the_seed_decides_the_donors_of_both_modes(self) -> None:
        def donors(mode: str, seed: int) -> dict[str, str]:
            return make_encoder(rationale_mode=mode, seed=seed).encode(self.ROWS).donors

        assert donors("shuffled", 1) == donors("shuffled", 1) == donors("shuffled_with_label", 1)
        assert donors("shuffled", 1) != donors("shuffled", 2)
        assert donors("aligned", 1) == donors("label_only", 1) == {}

    def test_rows_that_look_alike_are_still_different_donors(self) -> None:
        twins = [replace(example(), id=name) for name in ("a", "b")]
        assert make_encoder(rationale_mode="shuffled").encode(twins).donors == {"a": "b", "b": "a"}

    @pytest.mark.parametrize("mode", ["shuffled", "shuffled_with_label"])
    @pytest.mark.parametrize("num_reasoned", [0, 1])
    def test_there_must_be_two_to_shuffle(self, mode: str, num_reasoned: int) -> None:
        rows = [example(i, rationale="r" if i < num_reasoned else None) for i in range(4)]
        message = f"data.rationale_mode: {mode} needs at least two rows with a rationale, got {num_reasoned}"
        with pytest.raises(DataError, match=message):
            make_encoder(rationale_mode=mode).encode(rows)


def test_the_rationale_is_cut_and_the_answer_never() -> None:
    tokenizer, example = make_tokenizer(), Example(input_text="a text", label=1, rationale="because " * 9, id="a")
    encoder = SequenceEncoder(inputs=InputEncoder(tokenizer=tokenizer), labels=LABELS, max_sequence_tokens=40)
    row = encoder.encode([example]).examples[0]
    assert len(row.input_ids) + len(row.continuation_ids) == 40
    assert tokenizer.decode(row.continuation_ids[row.reason_end : -1]) == "\nAnswer: yes"


def test_a_row_without_rationale_has_no_end_of_one() -> None:
    encoder = SequenceEncoder(inputs=InputEncoder(tokenizer=make_tokenizer()), labels=LABELS)
    assert encoder.encode([Example(input_text="a text", label=1, id="a")]).examples[0].reason_end == 0


def test_the_end_of_the_rationale_is_known() -> None:
    example = Example(input_text="text", label=1, rationale="because", id="a", where="f:1")
    encoder = SequenceEncoder(inputs=InputEncoder(tokenizer=make_tokenizer()), labels=LABELS)
    row = encoder.encode([example]).examples[0]
    assert make_tokenizer().decode(row.continuation_ids[: row.reason_end]) == "\n\nReasoning: because"
