"""Settings from a look at a file of rows."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from dhrd.config import load_config
from dhrd.config.commented import resolved, to_yaml
from dhrd.data.rows import load_rows
from dhrd.errors import ConfigError, DataError
from dhrd.model.backbone import load_tokenizer
from dhrd.run.propose import Proposal, as_json, propose
from helpers.rows import write_jsonl
from helpers.runs import rows


def write_tickets(path: Path, count: int = 30, **more: Any) -> Path:
    """A CSV file whose columns have none of our names."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["ticket", "title", "message body", "queue", *more])
        writer.writeheader()
        for number in range(count):
            body = f"my order {number * 7 % 50} has not come " + "and nobody answers " * (number % 5)
            queue = ("bill", "ship")[number % 2]
            writer.writerow({"ticket": number, "title": "it is late", "message body": body, "queue": queue, **more})
    return path


def proposed(path: Path, backbone: Path | None = None, *overrides: str) -> Proposal:
    own = [f"model.name_or_path={backbone}"] if backbone is not None else []
    return propose(load_config(overrides=[f"data.train={path}", *own, *overrides]))


def values_of(proposal: Proposal) -> dict[str, object]:
    return {setting.name: setting.value for setting in proposal.settings}


def test_a_file_of_others_names(tmp_path: Path, tiny_backbone: Path) -> None:
    proposal = proposed(write_tickets(tmp_path / "tickets.csv"), tiny_backbone)
    values = values_of(proposal)
    assert values["data.columns"] == {"id": "ticket", "label": "queue"}
    assert values["data.input_template"] == 'title: {{ title }}\nmessage body: {{ row["message body"] }}'
    assert values["loss.reasoning_weight"] == 0
    assert values["model.name_or_path"] == str(tiny_backbone)
    assert proposal.labels == {"bill": 15, "ship": 15}
    config = resolved(proposal.settings)
    loaded = load_rows(config)
    assert [example.label for example in loaded.train[:2]] == ["bill", "ship"]
    assert loaded.train[0].id == "0"


def test_a_column_of_weights_is_said_to_be_read(tmp_path: Path, tiny_backbone: Path) -> None:
    """The one that training reads without being told: a parcel's weight, perhaps."""
    parcels = [{"input_text": f"parcel {n} is late", "label": "ab"[n % 2], "weight": n % 5 + 1} for n in range(30)]
    path = write_jsonl(tmp_path / "parcels.jsonl", parcels)
    (columns,) = (one for one in proposed(path, tiny_backbone).settings if one.name == "data.columns")
    assert "weight: 'weight', by its name: how much the row's label counts; rename it if it is none" in columns.why
    assert "not read" not in columns.why
    read = "data.input_template={{ input_text }} {{ weight }} kg"
    (columns,) = (one for one in proposed(path, tiny_backbone, read).settings if one.name == "data.columns")
    assert "how much the row's label counts" not in columns.why


def test_columns_that_are_read_by_their_names_are_not_called_unread(tmp_path: Path, tiny_backbone: Path) -> None:
    odd: dict[str, list[object]] = {"id": ["a", None, "b"], "rationale": ["so", "", "ok"], "note": [1, 2, 3]}
    parcels = [
        {"input_text": f"parcel {n} is late", "label": "ab"[n % 2]} | {name: own[n % 3] for name, own in odd.items()}
        for n in range(30)
    ]
    path = write_jsonl(tmp_path / "parcels.jsonl", parcels)
    (columns,) = (one for one in proposed(path, tiny_backbone).settings if one.name == "data.columns")
    assert "id: 'id', by its name, though not a different one in each row\n" in columns.why
    assert columns.why.endswith("not read: 'note'")


def test_limits_hold_for_99_of_100_rows_in_the_backbones_tokens(tmp_path: Path, tiny_backbone: Path) -> None:
    proposal = proposed(write_tickets(tmp_path / "tickets.csv"), tiny_backbone)
    tokenizer = load_tokenizer(str(tiny_backbone))
    lengths = sorted(len(tokenizer(str(e.rendered and e.rendered[1]))["input_ids"]) for e in proposal.rows.train)
    assert (proposal.inputs.longest, proposal.inputs.median) == (lengths[-1], lengths[len(lengths) // 2])
    values = values_of(proposal)
    limit, sequence = values["data.max_input_tokens"], values["data.max_sequence_tokens"]
    assert isinstance(limit, int) and isinstance(sequence, int)
    assert lengths[-1] <= limit < lengths[-1] + 32
    assert limit + 32 <= sequence <= limit + 64


def test_without_a_tokenizer_lengths_are_estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dhrd.run.propose.at_hand", lambda name: None)
    proposal = proposed(write_tickets(tmp_path / "tickets.csv"))
    assert "estimated" in proposal.inputs.unit
    longest = max(len(str(example.rendered and example.rendered[1])) for example in proposal.rows.train)
    assert proposal.inputs.longest == -(-longest // 3)


def test_our_own_columns_are_not_mapped_and_rationales_are_learned(tmp_path: Path, tiny_backbone: Path) -> None:
    proposal = proposed(write_jsonl(tmp_path / "rows.jsonl", rows(24)), tiny_backbone)
    values = values_of(proposal)
    assert values["data.columns"] == {}
    assert {"data.input_template", "loss.reasoning_weight", "data.dev_share"}.isdisjoint(values)
    assert resolved(proposal.settings).loss.reasoning_weight == 1


def test_what_was_given_holds(tmp_path: Path, tiny_backbone: Path) -> None:
    path = write_tickets(tmp_path / "tickets.csv", 40, shop="a")
    given = ["data.columns.input_text=title", "data.max_input_tokens=64", "loss.reasoning_weight=0.5"]
    given += ["loss.lm_targets=input", "training.num_epochs=9", "seed=4", "data.dev_share=0.25"]
    proposal = proposed(path, tiny_backbone, *given)
    config = resolved(proposal.settings)
    assert config.data.columns == {"input_text": "title", "id": "ticket", "label": "queue"}
    assert (config.data.max_input_tokens, config.training.num_epochs, config.seed) == (64, 9, 4)
    assert (config.loss.reasoning_weight, config.data.dev_share) == (0.5, 0.25)
    assert sum(proposal.labels.values()) == 40  # those held out are rows as well
    with pytest.raises(ConfigError, match=r"data\.columns\.label: there is no column 'nope'"):
        proposed(path, tiny_backbone, "data.columns.label=nope")


def test_validation_rows_beside_the_training_rows_are_used(tmp_path: Path, tiny_backbone: Path) -> None:
    path = write_tickets(tmp_path / "train.csv", 120)
    write_tickets(tmp_path / "dev.csv", 10)
    values = values_of(proposed(path, tiny_backbone))
    assert values["data.validation"] == str(tmp_path / "dev.csv")
    assert "data.dev_share" not in values


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"label": "A"}, "label: 'A' is unknown"),
        ({"label": ""}, "label: missing"),
        ({"input_text": ""}, "input_text: empty"),
        ({}, "label: missing; the row has input_text"),
    ],
    ids=str,
)
def test_a_bad_row_of_a_validation_file_is_told(
    tmp_path: Path, tiny_backbone: Path, bad: dict[str, str], message: str
) -> None:
    parcels = [{"input_text": f"parcel {n} is late", "label": "ab"[n % 2]} for n in range(120)]
    path = write_jsonl(tmp_path / "train.jsonl", parcels)
    lacking = {"input_text": "it is late"} if not bad else parcels[0] | bad
    beside = write_jsonl(tmp_path / "validation.jsonl", [*parcels[:9], lacking])
    with pytest.raises(DataError) as caught:
        proposed(path, tiny_backbone)
    assert f"{beside}:10: {message}" in str(caught.value)
    assert "data.validation" not in values_of(proposed(path, tiny_backbone, "data.dev_share=0.2"))
    assert "data.validation" in values_of(proposed(path, tiny_backbone, "data.validation_limit=9"))


def test_rows_of_one_customer_are_held_out_together(tmp_path: Path, tiny_backbone: Path) -> None:
    parcels = [{"input_text": f"parcel {n}", "label": "ab"[n % 3 > 0], "customer_id": n // 4} for n in range(120)]
    proposal = proposed(write_jsonl(tmp_path / "rows.jsonl", parcels), tiny_backbone)
    assert values_of(proposal)["data.columns"] == {"group": "customer_id"}
    loaded = load_rows(resolved(proposal.settings))
    assert loaded.has_dev and len(loaded.choose) == 12
    assert not {row.group for row in loaded.train} & {row.group for row in loaded.choose}


def test_else_a_share_of_many_rows_is_held_out(
    tmp_path: Path, tiny_backbone: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_tickets(tmp_path / "train.csv", 120)
    (tmp_path / "dev.csv").write_text("other,columns\n1,2\n", encoding="utf-8")  # no rows of this kind
    values = values_of(proposed(path, tiny_backbone))
    assert (values["data.dev_share"], values["training.selection"]) == (0.1, "best")
    assert "data.validation" not in values
    (said,) = (message for message in caplog.messages if "dev.csv" in message)
    assert said.startswith(f"{tmp_path / 'dev.csv'} is not used, though it lies beside the training rows: ")
    assert "known are other, columns" in said and "\n" not in said
    assert "data.dev_share" not in values_of(proposed(write_tickets(tmp_path / "few.csv", 30), tiny_backbone))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no rows"),
        ('{"input_text": "a b c", "label": "x"\n', "rows.jsonl:1"),
        ('{"input_text": "a b c", "label": "x"}\n' * 3, "have 1 label"),
        (
            '{"input_text": "a b c", "label": "x"}\n{"input_text": "", "label": "y"}\n',
            "rows.jsonl:2: input_text: empty",
        ),
    ],
)
def test_bad_rows_are_refused_as_training_refuses_them(
    tmp_path: Path, tiny_backbone: Path, content: str, message: str
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message) as theirs:
        load_rows(load_config(overrides=[f"data.train={path}"]))
    with pytest.raises(DataError) as ours:
        proposed(path, tiny_backbone)
    assert str(ours.value) == str(theirs.value)


def test_what_is_written_is_what_was_proposed(tmp_path: Path, tiny_backbone: Path) -> None:
    proposal = proposed(write_tickets(tmp_path / "tickets.csv"), tiny_backbone)
    (tmp_path / "c.yaml").write_text(to_yaml(proposal.settings), encoding="utf-8")
    assert load_config(tmp_path / "c.yaml") == resolved(proposal.settings)
    told = json.loads(json.dumps(as_json(proposal)))
    assert told["settings"] == json.loads(json.dumps(values_of(proposal)))
    assert told["columns"]["label"] == {"columns": ["queue"], "why": "by its 2 values", "others": []}
    assert (told["num_rows"], told["labels"]) == (30, {"bill": 15, "ship": 15})


def test_a_close_choice_of_the_label_is_said_and_written(
    tmp_path: Path, tiny_backbone: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parcels = [{"input_text": f"parcel {n} is late", "clerk": f"c{n % 9}", "late": n % 2} for n in range(30)]
    proposal = proposed(write_jsonl(tmp_path / "parcels.jsonl", parcels), tiny_backbone)
    said = "label: 'late', by its 2 values; it might be 'clerk' instead: set data.columns.label"
    assert said in caplog.messages
    assert said in to_yaml(proposal.settings)
    caplog.clear()
    proposed(tmp_path / "parcels.jsonl", tiny_backbone, "data.columns.label=clerk")
    assert not [message for message in caplog.messages if message.startswith("label")]


def test_the_labels_are_counted_as_they_are_listed(tmp_path: Path, tiny_backbone: Path) -> None:
    parcels = [{"input_text": f"parcel {n} is late", "late": ("yes", "no ", "yes ")[n % 3]} for n in range(30)]
    proposal = proposed(write_jsonl(tmp_path / "parcels.jsonl", parcels), tiny_backbone)
    assert proposal.columns["label"].why == f"by its {len(proposal.labels)} values" == "by its 2 values"


def test_a_row_without_a_label_is_named_at_once(tmp_path: Path, tiny_backbone: Path) -> None:
    path = write_tickets(tmp_path / "tickets.csv")
    lines = path.read_text().splitlines()
    lines[7] = lines[7].rpartition(",")[0] + ","
    path.write_text("\n".join([*lines, ",,,", ",,,"]))
    with pytest.raises(DataError) as caught:
        proposed(path, tiny_backbone)
    assert str(caught.value).startswith(f"{path}:8: label: missing: 'queue' is ''")
    assert "\n" not in str(caught.value)


def test_what_is_noticed_is_said_once(tmp_path: Path, tiny_backbone: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_tickets(tmp_path / "tickets.csv")
    path.write_text(
        path.read_text() + '99,it is late,"lost,bill\n98,it is late,lost,bill\n97,it is late,lost",ship\n,,,\n'
    )
    proposed(path, tiny_backbone)
    assert [message for message in caplog.messages if "rows" in message and str(path) in message] == [
        f"{path}: 1 rows at the end have nothing in any column and are left out",
        f"{path}: in 1 rows a quoted text contains lines that look like rows (first: {path}:32); if a quote was not "
        "closed there, double the quotes inside texts",
    ]
