"""Rounds: a model that is its own teacher, as in STaR (Zelikman et al. 2022, arXiv 2203.14465, section 3).

train → its reasoning head writes rationales for the rows that have none → retrain on those … as long as the log loss
on held-out rows falls

Intermediate results are kept in `OUTPUT.rounds`, one directory per round, so that an interrupted run can continue; the
best round's model is moved to the output at the end.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from dhrd._files import holds_nothing, replace_directory, saving, writing
from dhrd._outputs import check_can_take_place
from dhrd._temporary import is_temporary, remove_directory, sweep
from dhrd.artifact.info import read_info
from dhrd.artifact.write import write_training
from dhrd.config import RunConfig
from dhrd.data.digest import digest_of, rows_digest
from dhrd.data.rationales import join_rationales
from dhrd.data.records import Example
from dhrd.data.rows import Rows, load_rows
from dhrd.data.source import Source
from dhrd.data.sources import named_rows, open_source
from dhrd.errors import ConfigError
from dhrd.evaluation.evaluate import evaluate_classifier, rows_fingerprint
from dhrd.inference.classifier import Classifier
from dhrd.rationales.generate import generate_rationales
from dhrd.rationales.output import Written
from dhrd.run.finish import settle
from dhrd.run.rows import as_source, check_same_rows, with_own_ids
from dhrd.run.train import TrainResult, train
from dhrd.training.run_dir import check_same_settings, read_run

logger = logging.getLogger("dhrd")

ROUNDS = "rounds.json"
"""The file in the artifact with the results of each round."""

_WRITTEN = "rationales.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The results of one round.

    Args:
        number: The round's number, from 1.
        num_rationales: Training rows with a rationale.
        num_own: Those of them whose rationale the previous round's model wrote.
        num_told: Those of `num_own` written with the label given.
        log_loss: On the held-out rows.
        accuracy: On the held-out rows.
    """

    number: int
    num_rationales: int
    num_own: int
    num_told: int
    log_loss: float
    accuracy: float


def train_rounds(config: RunConfig, num_rounds: int, *, device: str | None = None) -> tuple[TrainResult, list[Round]]:
    """Train, let the model write the missing rationales, and retrain on them, repeatedly.

    Every round starts from the given backbone. Existing rationales are kept, and the missing ones are rewritten by each
    round's model. The first round that does not lower the best log loss on held-out rows is the last.

    Args:
        config: Settings as for `train`, with sampling options in `teacher`; some rows must have a rationale.
        num_rounds: Maximum number of rounds.
        device: "cpu", "cuda" or "mps"; None: the best available.

    Returns:
        The artifact of the best round, and all rounds.

    Raises:
        UserError: A setting or a row cannot be used; nothing is held out; output_dir is not empty.
        SaveError: A file could not be written.
    """
    output = Path(config.output_dir).expanduser()
    work = output.with_name(f"{output.name}.rounds")
    published = _published(output, work)
    if published is None:
        _check_places(output, work)
    config.check_choices(has_validation=config.data.validation is not None)
    rows = _rows(config)
    if published is not None:
        return _finish_published(config, rows, work), published
    rounds: list[Round] = []
    written: Written | None = None
    for number in range(1, num_rounds + 1):
        rounds.append(_round(number, config, rows, written, work / str(number), device))
        if number == num_rounds or any(one.log_loss <= rounds[-1].log_loss for one in rounds[:-1]):
            break
        written = _write(config, rows, work / str(number), device)
        if not written.num_rationales:
            logger.warning("round %d is the last: none of the rationales written conclude with the right label", number)
            break
    best = min(rounds, key=lambda one: one.log_loss)
    return _finish(config, rows, work, rounds, best), rounds


def _check_places(output: Path, work: Path) -> None:
    """Refuse output paths that contain anything but rounds, or that cannot be replaced; removed work that is left goes.

    Raises:
        ConfigError: One of them does, or cannot; or the rounds are complete, and were interrupted while they removed
            their work.
    """
    check_can_take_place("`output_dir`", output)
    if sweep(work, work.parent) and (output / ROUNDS).is_file() and not work.exists():
        raise ConfigError(
            f"output_dir: {output}: the interrupted rounds are complete; their last leftovers are removed now"
        )
    if not holds_nothing(output):
        raise ConfigError(f"output_dir: {output} is not empty; give another output_dir, or move it away")
    if not holds_nothing(work) and not all(path.name.isdigit() or is_temporary(path) for path in work.iterdir()):
        raise ConfigError(f"output_dir: {work} contains files that are not from dhrd's rounds; move it away")


def _published(output: Path, work: Path) -> list[Round] | None:
    """The rounds of a run that was interrupted after its model was in place and before its work was removed."""
    if not work.is_dir() or not (output / ROUNDS).is_file():
        return None
    told = json.loads((output / ROUNDS).read_text(encoding="utf-8"))
    if (work / str(told["best"]) / "artifact").exists():
        return None
    return [Round(**one) for one in told["rounds"]]


def _finish_published(config: RunConfig, rows: Rows, work: Path) -> TrainResult:
    """Finish such a run.

    Raises:
        ConfigError: It had other rows.
        CheckpointError: It had other settings.
    """
    output = Path(config.output_dir).expanduser()
    check_same_rows(work / "1" / "rows", rows.train, rows.choose)
    if (started := read_run(output)) is not None:  # with a round's settings, or already with the user's own
        check_same_settings(_of_round(started, output), _of_round(config, output), output)
    return _settled(config, rows, work)


def _rows(config: RunConfig) -> Rows:
    """The rows of all rounds, each with an id of its own.

    Raises:
        ConfigError: Nothing is held out, no rationale is missing, there are several tasks, or a head is not trained.
    """
    if config.tasks:
        raise ConfigError("`rounds` support a single task: leave `tasks` out, or train once")
    loss = config.loss
    if loss.classification_weight == 0:
        raise ConfigError("`rounds` compare classifiers: set loss.classification_weight above 0")
    if loss.reasoning_weight == 0 or loss.lm_targets == "input":
        raise ConfigError(
            "`rounds` let the reasoning head write rationales, which it must learn: set loss.reasoning_weight above 0 "
            "and loss.lm_targets to another value than input"
        )
    rows = load_rows(config)
    if not rows.choose:
        raise ConfigError("`rounds` need held-out rows: set data.dev_share (say 0.1) or data.validation")
    if all(example.rationale for example in rows.train):
        raise ConfigError("`rounds` write missing rationales, but every training row has one: train once")
    return replace(rows, train=list(with_own_ids(rows.train, str(config.data.train))))


def _taught(rows: Rows, written: Written | None) -> list[Example]:
    """The training rows, with the previous round's rationales for those that have none."""
    if written is None:
        return rows.train
    found = {example.id: example for example in join_rationales(_missing(rows), written.output)}
    return [found.get(example.id, example) for example in rows.train]


def _missing(rows: Rows) -> list[Example]:
    return [example for example in rows.train if not example.rationale]


def _round(
    number: int, config: RunConfig, rows: Rows, written: Written | None, directory: Path, device: str | None
) -> Round:
    """Train on rows, or resume that, and evaluate on the held-out rows."""
    like, artifact, taught = _like(config), directory / "artifact", _taught(rows, written)
    with saving(str(directory)):
        directory.mkdir(parents=True, exist_ok=True)
    check_same_rows(directory / "rows", taught, rows.choose)
    train(
        _of_round(config, artifact),
        train_dataset=as_source(taught, rows.labels, like=like),
        validation_dataset=as_source(rows.choose, rows.labels, like=like),
        checkpoint=artifact if read_run(artifact) is not None else None,
        device=device,
    )
    evaluation = evaluate_classifier(Classifier.from_pretrained(artifact, device=device, dtype=None), rows.choose)
    write_training(
        artifact,
        chosen=map(digest_of, rows.choose),
        metrics={**(read_info(artifact).training.get("metrics") or {}), "selected_on": True},
        selected_on={"rows": rows.choose_name, "fingerprint": rows_fingerprint(evaluation.texts)},
        rows={"train": rows_digest(rows.train), "held_out": rows_digest(rows.choose) if rows.has_dev else None},
    )
    metrics = evaluation.metrics
    done = Round(
        number=number,
        num_rationales=sum(bool(example.rationale) for example in taught),
        num_own=written.num_rationales if written else 0,
        num_told=written.noted["label_given"] if written else 0,
        log_loss=metrics["log_loss"],
        accuracy=metrics["accuracy"],
    )
    logger.info("round %d: held-out log loss %.4f, accuracy %.4f", number, done.log_loss, done.accuracy)
    return done


def _like(config: RunConfig) -> Source:
    return open_source(named_rows(config.data), config.data)


def _of_round(config: RunConfig, output_dir: Path) -> RunConfig:
    """The settings of a round; its rows have already been sampled and split."""
    none = dict.fromkeys(("rationales", "labels", "train_limit", "validation_limit"), None)
    whole = {"train_share": 1.0, "rationale_share": 1.0, "label_noise": 0.0, "dev_share": 0.0}
    data = config.data.model_copy(update={**none, **whole})
    return config.model_copy(update={"data": data, "output_dir": str(output_dir)})


def _write(config: RunConfig, rows: Rows, directory: Path, device: str | None) -> Written:
    """Let a round's model write the missing rationales."""
    teacher = config.teacher.model_copy(update={"name": f"self:{directory / 'artifact'}"})
    missing = as_source(_missing(rows), rows.labels, like=_like(config))
    asked = config.model_copy(update={"teacher": teacher})
    return generate_rationales(asked, missing, directory / _WRITTEN, device=device)


def _finish(config: RunConfig, rows: Rows, work: Path, rounds: list[Round], best: Round) -> TrainResult:
    """Move the best round's model, with the rationales it was trained on, to the output."""
    output = Path(config.output_dir).expanduser()
    artifact, written = work / str(best.number) / "artifact", work / str(best.number - 1) / _WRITTEN
    with writing(artifact / ROUNDS) as file:
        file.json({"best": best.number, "rounds": [asdict(one) for one in rounds]})
    with saving(str(output)):
        if written.is_file():
            shutil.copy(written, artifact / _WRITTEN)
        replace_directory(artifact, output)
    return _settled(config, rows, work)


def _settled(config: RunConfig, rows: Rows, work: Path) -> TrainResult:
    """The result, once the published artifact has the user's settings; those of its round sample and split no rows."""
    output = Path(config.output_dir).expanduser()
    settle(output, config, judged_on=rows.choose_name)
    with saving(str(work)):
        remove_directory(work)
    return TrainResult(output_dir=output, metrics=dict(read_info(output).training.get("metrics") or {}))
