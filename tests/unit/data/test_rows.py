"""`data.label_noise`: which rows get another label, and that nothing else of them changes; texts that stand twice."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from dhrd.artifact.info import ArtifactInfo
from dhrd.config import RunConfig, load_config
from dhrd.data.inputs import InputEncoder
from dhrd.data.records import Example, LabelSet
from dhrd.data.rows import add_label_noise, load_rows
from dhrd.data.sequence import SequenceEncoder
from dhrd.errors import ConfigError, DataError
from dhrd.experiments.cache import Cache
from dhrd.experiments.cells import hash_rows
from dhrd.run.rows import open_rows
from helpers.reading import warnings_of
from helpers.rows import make_tokenizer
from helpers.runs import LABELS, settings, write_rows

LABEL_SET = LabelSet(LABELS)
ROWS = [Example(id=f"r{i}", input_text=f"text {i}", label=LABELS[i % 3], rationale=f"why {i}") for i in range(3000)]


def noisy(share: float, seed: int = 0) -> list[Example]:
    return add_label_noise(ROWS, LABEL_SET, share, seed)


def changed(rows: list[Example]) -> dict[str, object]:
    return {ours.id: ours.label for ours, theirs in zip(rows, ROWS, strict=True) if ours.label != theirs.label}


def config_of(directory: Path, *overrides: str) -> RunConfig:
    write_rows(directory, num_train=40)
    return load_config(overrides=settings(Path("unused"), directory, *overrides))


def test_without_noise_the_rows_are_the_same() -> None:
    assert noisy(0.0) is ROWS


def test_a_label_is_drawn_from_all_so_that_a_third_of_three_stay() -> None:
    found = changed(noisy(0.6))
    assert len(found) == pytest.approx(0.6 * 3000 * 2 / 3, rel=0.06)
    assert all(count == pytest.approx(400, rel=0.15) for count in Counter(found.values()).values())
    assert len(changed(noisy(1.0))) == pytest.approx(2000, rel=0.06)


def test_only_the_label_changes() -> None:
    assert [replace(row, label=None) for row in noisy(0.5)] == [replace(row, label=None) for row in ROWS]


def test_the_seed_decides_and_a_larger_share_holds_a_smaller() -> None:
    assert noisy(0.25, seed=3) == noisy(0.25, seed=3)
    assert changed(noisy(0.25, seed=3)) != changed(noisy(0.25, seed=4))
    assert changed(noisy(0.1)).items() < changed(noisy(0.25)).items()


def test_labels_are_drawn_by_name() -> None:
    rows = [replace(row, label=str(i % 3)) for i, row in enumerate(ROWS)]
    found = add_label_noise(rows, LabelSet(("0", "1", "2")), 0.5, 0)
    assert {row.label for row in found} == {"0", "1", "2"}
    assert found != rows


def test_rows_with_several_labels_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.label_noise: not supported for rows with several labels"):
        add_label_noise(ROWS, LabelSet(LABELS, multi_label=True), 0.1, 0)


def test_training_rows_alone_get_it_and_the_answer_is_the_new_label(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clean = load_rows(config_of(tmp_path))
    with caplog.at_level(logging.INFO, logger="dhrd"):
        found = load_rows(config_of(tmp_path, "data.label_noise=0.5"))
    assert found.validation == clean.validation
    pairs = list(zip(found.train, clean.train, strict=True))
    other = [ours for ours, theirs in pairs if ours.label != theirs.label]
    assert f"label noise: 20 of 40 rows drawn, {len(other)} labels changed" in caplog.text
    reasoned = next(row for row in other if row.rationale)
    tokenizer = make_tokenizer()
    encoder = SequenceEncoder(inputs=InputEncoder(tokenizer=tokenizer), labels=found.labels)
    encoded = encoder.encode([reasoned]).examples[0]
    assert encoded.label == found.labels.encode(reasoned.label)
    answer = tokenizer.decode(encoded.continuation_ids, skip_special_tokens=True)
    assert answer.endswith(f"{reasoned.rationale}\nAnswer: {reasoned.label}")


def test_it_is_drawn_anew_for_each_seed_and_is_part_of_a_cells_rows(tmp_path: Path) -> None:
    cache = Cache("cpu")
    grid = itertools.product((0, 0.5), (0, 1))
    configs = [config_of(tmp_path, f"data.label_noise={share}", f"seed={seed}") for share, seed in grid]
    hashes = [hash_rows(cache.rows(config), config) for config in configs]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_rows_cut_off_for_choices_are_noisy_too(tmp_path: Path) -> None:
    gold = {row.id: row.label for row in load_rows(config_of(tmp_path)).train}
    found = load_rows(config_of(tmp_path, "data.label_noise=1", "data.dev_share=0.5"))
    assert any(row.label != gold[row.id] for row in found.choose)


def test_l21_one_text_twice_is_told_with_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train = [{"input_text": t, "label": n} for t, n in (("a", "x"), ("b", "y"), ("a", "y"), ("c", "x"), ("c", "x"))]
    held = [{"input_text": t, "label": "x"} for t in ("a", "new", "b")]
    config = load_config(loss__reasoning_weight=0)
    said = warnings_of(caplog, lambda: load_rows(config, train, held))
    assert any(line.startswith("data.train: 1 texts occur with more than one label (first: row 0)") for line in said)
    assert any(line.startswith("data.validation: 2 of 3 rows have the text of a training row") for line in said)
    assert warnings_of(caplog, lambda: load_rows(config, train[:2], held[1:2])) == []
    cut = load_config(loss__reasoning_weight=0, data__dev_share=0.5)
    said = warnings_of(caplog, lambda: load_rows(cut, [{"input_text": "a", "label": n} for n in "xxxxyyyy"]))
    assert any(line.startswith("data.dev_share: 4 of 4 rows have the text of a training row") for line in said)


def test_several_labels_are_asked_of_a_source_with_a_label_set_too(tmp_path: Path) -> None:
    """A generator of rows with one label each cannot give them, and is not trained as if it did."""
    with pytest.raises(DataError, match=r"one label .* where the other rows have a list of labels"):
        load_rows(load_config(data__train="policy_desk:rows=20", data__multi_label=True, output_dir=str(tmp_path)))


def test_only_training_rows_need_the_weights_that_are_mapped() -> None:
    config = load_config(data__columns={"weight": "w"}, loss__reasoning_weight=0)
    rows = [{"input_text": f"text {i}", "label": LABELS[i % 3]} for i in range(6)]
    weighed = [{**row, "w": 2.0} for row in rows]
    found = load_rows(config, weighed[:3], rows[3:])
    assert [row.weight for row in (*found.train, *found.validation)] == [2, 2, 2, 1, 1, 1]
    assert (
        len(open_rows(rows, "validation", config, ArtifactInfo(kind="sequence_classifier", labels=LABEL_SET)).load())
        == 6
    )
    with pytest.raises(DataError, match=r"there is no column 'w', which data.columns names"):
        load_rows(config, rows[:3], weighed[3:])
