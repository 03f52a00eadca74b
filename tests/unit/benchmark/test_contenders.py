"""Who takes part in a benchmark: each by name, all from one lineup."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.benchmark.contenders import MAKERS, BenchmarkRows, Lineup, ours, without_sharing
from dhrd.benchmark.settings import PEERS
from dhrd.data.records import Example
from dhrd.errors import ArtifactError
from dhrd.inference.classifier import Classifier
from helpers.artifacts import save_tiny

TEXTS = ["case 1", "the second case is longer", "case 3"]
ROWS = BenchmarkRows([Example(input_text=text) for text in TEXTS], TEXTS, [[5, 6], [5, 6, 7], [8]], gold=list("abc"))


@pytest.fixture(scope="module")
def lineup(tmp_path_factory: pytest.TempPathFactory) -> Lineup:
    directory = save_tiny(tmp_path_factory.mktemp("contenders") / "artifact")
    return Lineup(directory, Classifier.from_pretrained(directory, device="cpu", dtype="float32"), (1, 2))


def test_a_part_of_the_rows_takes_all_of_a_row() -> None:
    part = ROWS.part(1, 3)
    assert (len(part), part.num_tokens, part.gold, part.texts) == (2, 4, ["b", "c"], TEXTS[1:])
    assert ROWS.num_tokens == 6


def test_all_give_our_labels(lineup: Lineup) -> None:
    expected = ours(lineup.classifier).run(ROWS)
    made = [*MAKERS["pipeline"](lineup), *MAKERS["loop"](lineup), ours(without_sharing(lineup.classifier))]
    assert [one.name for one in made] == ["pipeline_1", "pipeline_2", "pipeline_default", "loop", "dhrd"]
    assert [one.batch_size for one in made] == [1, 2, 1, 32, None]
    for one in made:
        assert one.run(ROWS) == expected, one.name
        assert one.dtype == "float32"


def test_the_stock_model_is_loaded_once(lineup: Lineup) -> None:
    assert lineup.stock is lineup.stock
    assert type(lineup.stock).__name__ == "LlamaForSequenceClassification"


def test_every_name_has_a_maker() -> None:
    assert tuple(MAKERS) == PEERS


def test_a_head_that_is_not_stock_has_no_pipeline(tmp_path: Path) -> None:
    directory = save_tiny(tmp_path / "artifact", head="mlp")
    classifier = Classifier.from_pretrained(directory, device="cpu", dtype="float32")
    with pytest.raises(ArtifactError, match="an mlp head or mean pooling"):
        list(MAKERS["loop"](Lineup(directory, classifier)))
