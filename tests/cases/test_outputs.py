"""Outputs of commands: never over an input, whole or not at all, under a name that says what they hold."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dhrd
from dhrd import _files
from dhrd._files import writing
from dhrd._outputs import Output, check_outputs
from dhrd.errors import ConfigError
from dhrd.run import train as run
from helpers.fork import ForkServer
from helpers.rows import write_jsonl
from helpers.runs import Ended, make_config, read_jsonl, rows, run_forked, run_here

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def artifact(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; its data lies beside it."""
    directory = tmp_path_factory.mktemp("artifact")
    run.train(make_config(tiny_backbone, directory, "training.num_epochs=1"), device="cpu")
    return directory / "out"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "t.jsonl", rows(9))


def content(directory: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def refused(ended: Ended, part: str, code: int = 2) -> None:
    assert (ended.code, len(ended.error_lines)) == (code, 1), ended.err
    assert part in ended.error_lines[0]


Spelling = Callable[[Path], Path]


def as_it_is(path: Path) -> Path:
    return path


def by_another_way(path: Path) -> Path:
    return path.parent / ".." / path.parent.name / path.name


def by_a_link(path: Path) -> Path:
    link = path.parent / f"link{path.suffix}"
    link.symlink_to(path)
    return link


def by_a_hard_link(path: Path) -> Path:
    hard = path.parent / f"hard{path.suffix}"
    os.link(path, hard)
    return hard


@pytest.fixture(params=[as_it_is, by_another_way, by_a_link, by_a_hard_link])
def spelling(request: pytest.FixtureRequest) -> Spelling:
    return request.param


def no_model(*arguments: Any, **options: Any) -> None:
    raise AssertionError("a model was loaded before the outputs were checked")


class TestF1AnOutputIsNoInput:
    """F1: refused before anything is opened or computed, by the identity of the file."""

    @pytest.fixture(autouse=True)
    def nothing_is_computed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dhrd.Classifier, "from_pretrained", no_model)

    def check(self, capsys: Capsys, directory: Path, *arguments: object, part: str = "would overwrite") -> None:
        before = content(directory)
        refused(run_here(capsys, *arguments), part)
        assert content(directory) == before

    def test_f1_predict(self, capsys: Capsys, artifact: Path, source: Path, spelling: Spelling) -> None:
        output = spelling(source)
        files = "--input", source, "--output", output
        self.check(capsys, source.parent, "predict", "--model", artifact, *files)

    @pytest.mark.parametrize("option", ["--predictions", "--json"])
    def test_f1_evaluate(self, capsys: Capsys, artifact: Path, tmp_path: Path, spelling: Spelling, option: str) -> None:
        kind = "json" if option == "--json" else "jsonl"
        data = tmp_path / f"t.{kind}"
        data.write_text(json.dumps(rows(9)) if kind == "json" else "".join(json.dumps(row) + "\n" for row in rows(9)))
        self.check(capsys, tmp_path, "evaluate", "--model", artifact, "--data", data, option, spelling(data))

    @pytest.mark.parametrize("which", [0, 1])
    def test_f1_compare(self, capsys: Capsys, tmp_path: Path, spelling: Spelling, which: int) -> None:
        answers = [{"id": "a", "gold": "x", "label": "x"}, {"id": "b", "gold": "y", "label": "x"}]
        files = [write_jsonl(tmp_path / name, answers) for name in ("a.jsonl", "b.jsonl")]
        for path in files:
            path.rename(path.with_suffix(".json"))
        files = [path.with_suffix(".json") for path in files]
        self.check(capsys, tmp_path, "compare", *files, "--json", spelling(files[which]))

    @pytest.mark.parametrize(
        "name", ["dhrd.json", "config.json", "tokenizer.json", "run.json", "special_tokens_map.json"]
    )
    def test_f1_a_file_of_the_artifact(self, capsys: Capsys, artifact: Path, name: str) -> None:
        self.check(capsys, artifact, "evaluate", "--model", artifact, "--json", artifact / name)

    def test_f1_the_runs_own_data(self, capsys: Capsys, artifact: Path, source: Path) -> None:
        for name in ("train.jsonl", "validation.jsonl"):
            own = artifact.parent / name
            self.check(capsys, artifact.parent, "predict", "--model", artifact, "--input", source, "--output", own)
            self.check(capsys, artifact.parent, "evaluate", "--model", artifact, "--data", source, "--predictions", own)

    def test_f1_a_directory_with_a_link_that_leads_nowhere(
        self, capsys: Capsys, artifact: Path, source: Path, tmp_path: Path
    ) -> None:
        """What cannot be opened beside the rows leaves them as guarded as they were."""
        (tmp_path / "aloop.jsonl").symlink_to(tmp_path / "aloop.jsonl")
        (tmp_path / "zgone.jsonl").symlink_to(tmp_path / "nowhere.jsonl")
        for spec in (tmp_path, by_a_link(tmp_path)):
            refused(
                run_here(capsys, "predict", "--model", artifact, "--input", spec, "--output", source), "would overwrite"
            )
        assert len(read_jsonl(source)) == 9

    def test_f1_names_that_a_loader_looks_for(self, capsys: Capsys, artifact: Path, source: Path) -> None:
        """They would change what the artifact is, though no such file is there yet."""
        for name in ("adapter_config.json", "generation_config.json", "model.safetensors.index.json"):
            self.check(capsys, artifact, "evaluate", "--model", artifact, "--data", source, "--json", artifact / name)

    def test_f1_the_config(self, capsys: Capsys, artifact: Path, source: Path, tmp_path: Path) -> None:
        config = tmp_path / "settings.json"
        config.write_text("{}")
        given = "--model", artifact, "--data", source, "--config", config, "--json", config
        self.check(capsys, tmp_path, "evaluate", *given)

    def test_f1_benchmark(self, capsys: Capsys, artifact: Path, tmp_path: Path) -> None:
        data = tmp_path / "t.json"
        data.write_text(json.dumps(rows(9)))
        self.check(capsys, tmp_path, "benchmark", "--model", artifact, "--data", data, "--json", data)

    def test_f1_two_outputs(self, capsys: Capsys, artifact: Path, source: Path, tmp_path: Path) -> None:
        both = "--json", tmp_path / "x", "--predictions", tmp_path / "." / "x"
        given = "evaluate", "--model", artifact, "--data", source
        self.check(capsys, tmp_path, *given, *both, part="what --json writes")
        self.check(capsys, tmp_path, *given, "--json", "-", "--predictions", "-", part="what --json writes")

    def test_f1_audit(self, capsys: Capsys, source: Path, tmp_path: Path, spelling: Spelling) -> None:
        given = "rationales", "audit", source, "--data", source, "--fix", "drop", "--output", spelling(source)
        self.check(capsys, tmp_path, *given)

    def test_f1_audit_and_its_rows(self, capsys: Capsys, source: Path, tmp_path: Path) -> None:
        data = write_jsonl(tmp_path / "rows.jsonl", rows(9))
        self.check(capsys, tmp_path, "rationales", "audit", source, "--data", data, "--fix", "drop", "--output", data)

    def test_f1_convert(self, capsys: Capsys, source: Path, tmp_path: Path, spelling: Spelling) -> None:
        self.check(capsys, tmp_path, "rationales", "convert", source, "--output", spelling(source))

    def test_f1_generate(self, capsys: Capsys, tmp_path: Path) -> None:
        """The rows and the template may lie where the command would put its manifest."""
        data = tmp_path / "r.manifest.json"
        data.write_text(json.dumps(rows(3)))
        given = "rationales", "generate", "--teacher", "openai:tiny", "--data", data, "--output", tmp_path / "r.jsonl"
        self.check(capsys, tmp_path, *given)

    @pytest.mark.parametrize("name", ["-", "/dev/stdin"])
    def test_f1_standard_input_and_output(self, source: Path, name: str) -> None:
        """What the shell connects is known by its file too."""
        kept = os.dup(0)
        with source.open() as file:
            os.dup2(file.fileno(), 0)
        try:
            with pytest.raises(ConfigError, match=r"would overwrite an input \(.*\)"):
                check_outputs([Output("--output", source)], [name])
        finally:
            os.dup2(kept, 0)
            os.close(kept)

    def test_f1_what_is_no_input_is_replaced(
        self, capsys: Capsys, artifact: Path, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Yesterday's results, within the artifact's directory too."""
        monkeypatch.undo()
        output = artifact / "predictions.jsonl"
        for _ in range(2):
            ended = run_here(capsys, "predict", "--model", artifact, "--input", source, "--output", output)
            assert ended.code == 0, ended.err
        assert len(read_jsonl(output)) == 9
        output.unlink()


def predict(capsys: Capsys, artifact: Path, source: object, output: object) -> Ended:
    return run_here(capsys, "predict", "--model", artifact, "--input", source, "--output", output, "--device", "cpu")


BAD = [*rows(8), {"id": "bad", "input_text": ""}]


class TestF4ALink:
    """F4: what a link leads to is replaced when the new file is whole; the link stays."""

    def test_f4_a_link_to_the_input(self, capsys: Capsys, artifact: Path, source: Path) -> None:
        (source.parent / "link.jsonl").symlink_to(source)
        refused(predict(capsys, artifact, source, source.parent / "link.jsonl"), "would overwrite")
        assert len(read_jsonl(source)) == 9

    def test_f4_results_behind_a_link_survive_a_bad_row(self, capsys: Capsys, artifact: Path, tmp_path: Path) -> None:
        (tmp_path / "far").mkdir()
        old, link = tmp_path / "far" / "old.jsonl", tmp_path / "link.jsonl"
        old.write_text("yesterday\n")
        link.symlink_to(old)
        data = write_jsonl(tmp_path / "bad.jsonl", BAD)
        refused(predict(capsys, artifact, data, link), "bad.jsonl:9: input_text")
        assert old.read_text() == "yesterday\n"
        write_jsonl(data, BAD[:-1])
        assert predict(capsys, artifact, data, link).code == 0
        assert link.is_symlink()
        assert len(read_jsonl(old)) == 8
        assert os.listdir(tmp_path / "far") == ["old.jsonl"]

    def test_f4_a_link_to_nothing_yet(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("new")
        with writing(tmp_path / "link") as file:
            file.write("text")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "new").read_text() == "text"


class TestF5TwoProcesses:
    """F5: each writes a file of its own; the last that is done replaces the target."""

    def test_f5_two_predicts(self, capsys: Capsys, fork_server: ForkServer, artifact: Path, tmp_path: Path) -> None:
        data, output = write_jsonl(tmp_path / "in.jsonl", rows(300)), tmp_path / "out.jsonl"
        command = ["predict", "--model", artifact, "--input", data, "--output", output, "--device", "cpu"]
        fork_server.start([str(part) for part in command], tmp_path / "out", tmp_path / "err")
        here = run_here(capsys, *command)
        assert (here.code, fork_server.wait()) == (0, 0), (here.err, (tmp_path / "err").read_text())
        assert [row["id"] for row in read_jsonl(output)] == [f"r{i}" for i in range(300)]
        assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["labels.csv", "labels.json", "labels.parquet", "labels.jsonl.gz", "labels.txt"])
def test_f12_another_kinds_name_is_refused(capsys: Capsys, artifact: Path, source: Path, name: str) -> None:
    """F12: JSON lines under a name that says otherwise would be refused by whatever reads them next."""
    output = source.parent / name
    if name in ("labels.json", "labels.txt"):
        refused(predict(capsys, artifact, source, output), "is predictions; give a name that ends in .jsonl or .jsonl")
    given = "evaluate", "--model", artifact, "--data", source
    refused(run_here(capsys, *given, "--predictions", output), "give a name that ends in .jsonl")
    assert not output.exists()


@pytest.mark.parametrize(("option", "name"), [("--json", "m.jsonl"), ("--json", "m.csv"), ("--plot", "m.pdf")])
def test_f12_other_outputs(capsys: Capsys, artifact: Path, source: Path, option: str, name: str) -> None:
    """F12: the same for metrics and figures."""
    given = "evaluate", "--model", artifact, "--data", source, "--mode", "cascade", option, source.parent / name
    refused(run_here(capsys, *given, "--threshold", 0.5), "give a name that ends in ")


class TestF13APartIsRemoved:
    """F13: no part of an output is left, and the message says so."""

    def test_f13_a_bad_row(self, capsys: Capsys, artifact: Path, tmp_path: Path) -> None:
        data = write_jsonl(tmp_path / "bad.jsonl", BAD)
        ended = predict(capsys, artifact, data, tmp_path / "o.jsonl")
        refused(ended, "bad.jsonl:9: input_text: empty")
        assert ended.error_lines[0].endswith(f"; nothing was written to {tmp_path / 'o.jsonl'}")
        assert os.listdir(tmp_path) == ["bad.jsonl"]

    def test_f13_a_full_disk(self, fork_server: ForkServer, artifact: Path, tmp_path: Path) -> None:
        data = write_jsonl(tmp_path / "in.jsonl", rows(400))
        given = "--model", artifact, "--input", data, "--output", tmp_path / "o.jsonl", "--device", "cpu"
        ended = run_forked(fork_server, tmp_path, "predict", *given, max_file_bytes=10_000)
        refused(ended, "o.jsonl could not be saved (File too large)", code=1)
        assert "training" not in ended.err
        assert sorted(os.listdir(tmp_path)) == ["in.jsonl", "stderr.txt", "stdout.txt"]

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_f13_signals(self, artifact: Path, tmp_path: Path, number: int, capsys: Capsys) -> None:
        """Sent from within, at the third row, when a part is written."""
        seen = 0

        write = _files.Writer.write

        def counted(self: Any, content: Any) -> None:
            nonlocal seen
            seen += content.startswith(b'{"id"')
            if seen == 3:
                assert len(list(tmp_path.glob(".o.jsonl.*"))) == 1
                os.kill(os.getpid(), number)
            write(self, content)

        data = write_jsonl(tmp_path / "in.jsonl", rows(9))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(_files.Writer, "write", counted)
            ended = predict(capsys, artifact, data, tmp_path / "o.jsonl")
        assert ended.code == 130
        assert ended.err.endswith(f"dhrd: error: interrupted; nothing was written to {tmp_path / 'o.jsonl'}\n")
        assert os.listdir(tmp_path) == ["in.jsonl"]
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


class TestF19Streams:
    """F19: `-` is standard output; a reader that leaves ends the command quietly."""

    def test_f19_predict(self, capsys: Capsys, artifact: Path, source: Path) -> None:
        ended = predict(capsys, artifact, source, "-")
        assert ended.code == 0
        assert [json.loads(line)["id"] for line in ended.out.splitlines()] == [f"r{i}" for i in range(9)]
        assert "9 rows are in -" in ended.err
        assert not Path("-").exists()

    def test_f19_evaluate(self, capsys: Capsys, artifact: Path, source: Path) -> None:
        given = "evaluate", "--model", artifact, "--data", source, "--device", "cpu"
        ended = run_here(capsys, *given, "--json", "-")
        assert json.loads(ended.out)["num_examples"] == 9
        assert "9 rows" in ended.err
        ended = run_here(capsys, *given, "--predictions", "-")
        assert len([json.loads(line) for line in ended.out.splitlines()]) == 9

    def test_f19_convert_and_compare(self, capsys: Capsys, tmp_path: Path, source: Path) -> None:
        ended = run_here(capsys, "rationales", "convert", source, "--output", "-")
        assert all({"id", "rationale"} <= set(json.loads(line)) for line in ended.out.splitlines())
        answers = [{"id": "a", "gold": "x", "label": "x"}, {"id": "b", "gold": "y", "label": "x"}]
        one, two = (write_jsonl(tmp_path / name, answers) for name in ("a.jsonl", "b.jsonl"))
        assert json.loads(run_here(capsys, "compare", one, two, "--json", "-").out)["num_rows"] == 2

    @pytest.mark.parametrize("name", ["-", "/dev/stdout"])
    def test_f19_a_reader_that_leaves(self, fork_server: ForkServer, artifact: Path, tmp_path: Path, name: str) -> None:
        data = write_jsonl(tmp_path / "in.jsonl", rows(3000))
        given = "predict", "--model", str(artifact), "--input", str(data), "--output", name, "--device", "cpu"
        os.mkfifo(tmp_path / "stdout")
        fork_server.start(list(given), tmp_path / "stdout", tmp_path / "stderr")
        with (tmp_path / "stdout").open() as reader:
            assert reader.readline().startswith('{"id": "r0"')
        assert fork_server.wait() == 0
        assert (tmp_path / "stderr").read_text() == ""

    def test_f19_a_named_pipe(self, capsys: Capsys, artifact: Path, source: Path, tmp_path: Path) -> None:
        pipe, read = tmp_path / "pipe", []
        os.mkfifo(pipe)
        reader = threading.Thread(target=lambda: read.extend(pipe.read_text().splitlines()))
        reader.start()
        assert predict(capsys, artifact, source, pipe).code == 0
        reader.join(60)
        assert len(read) == 9
        assert pipe.is_fifo()

    def test_f19_standard_output_that_is_a_file_is_appended_to(
        self, fork_server: ForkServer, artifact: Path, source: Path, tmp_path: Path
    ) -> None:
        given = "--model", artifact, "--input", source, "--output", "/dev/stdout", "--device", "cpu"
        ended = run_forked(fork_server, tmp_path, "predict", *given)
        assert ended.code == 0, ended.err
        assert len(ended.out.splitlines()) == 9


class TestF20WhatIsTold:
    """F20: a failure is told as what it is."""

    def test_f20_an_error_of_the_input_is_not_one_of_saving(
        self, capsys: Capsys, artifact: Path, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*arguments: Any, **options: Any) -> Iterator[Any]:
            raise OSError(5, "Input/output error", "t.jsonl")

        monkeypatch.setattr(dhrd.Classifier, "scored", broken)
        ended = predict(capsys, artifact, source, source.parent / "o.jsonl")
        refused(ended, "Input/output error", code=1)
        assert "saved" not in ended.err
        assert os.listdir(source.parent) == [source.name]

    def test_f20_home_in_every_path(
        self, capsys: Capsys, artifact: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = tmp_path / "home"
        home.mkdir()
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.chdir(tmp_path)
        (home / "m").symlink_to(artifact)
        source.rename(home / "t.jsonl")
        given = "--model=~/m", "--input=~/t.jsonl", "--output=~/o.jsonl", "--device=cpu"
        ended = run_here(capsys, "predict", *given)
        assert ended.code == 0, ended.err
        assert len(read_jsonl(home / "o.jsonl")) == 9
        assert not (tmp_path / "~").exists()
        config = dhrd.load_config(overrides=["output_dir=~/out", "data.train=~/t.jsonl", "model.name_or_path=~/b"])
        found = config.output_dir, config.data.train, config.model.name_or_path
        assert found == (f"{home}/out", f"{home}/t.jsonl", f"{home}/b")

    def test_f20_a_place_that_is_not_there_is_told_at_once(
        self, capsys: Capsys, artifact: Path, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dhrd.Classifier, "from_pretrained", no_model)
        given = "evaluate", "--model", artifact, "--data", source
        refused(run_here(capsys, *given, "--json", source.parent / "no" / "m.json"), "No such file", code=1)
        refused(run_here(capsys, *given, "--json", source.parent), "is a directory; give the name of a file")
