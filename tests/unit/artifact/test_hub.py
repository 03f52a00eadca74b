"""Artifacts on the hub: a stand-in for it answers huggingface_hub's own client in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import dhrd
from dhrd.artifact.hub import FILES, find_artifact, push_artifact
from dhrd.errors import ArtifactError
from helpers.artifacts import save_tiny
from helpers.hub import COMMIT, Hub, serving_hub

NAME = "some-org/refunds"


def python(program: str, hub: Hub, home: Path, **environment: str) -> list[str]:
    """What a program prints, line by line; the client reads the hub's address when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ
        | {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_TOKEN": "hf_none", "HF_HUB_OFFLINE": "0"}
        | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


LOAD = f"""
from dhrd import Classifier, DhrdError
for name in ("{NAME}", "some-org/unknown"):
    try:
        classifier = Classifier.from_pretrained(name, device="cpu", dtype=None)
        print(classifier.predict_proba(["case 1"]).tolist()[0], flush=True)
    except DhrdError as error:
        print(f"{{type(error).__name__}}: {{error}}")
"""


def test_an_artifact_goes_to_the_hub_and_comes_back_and_stays_offline(tmp_path: Path) -> None:
    directory = save_tiny(tmp_path / "artifact")
    (directory / "predictions.jsonl").write_text("mine")
    (directory / "weights.bin").write_bytes(b"a pickle")
    (directory / "checkpoints").mkdir()
    (directory / "checkpoints" / "model.safetensors").write_bytes(b"later")
    written = {str(path.relative_to(directory)) for path in directory.iterdir()}
    with serving_hub(NAME) as hub:
        hub.files = {"weights.bin": b"a pickle", "head.safetensors": b"of the artifact before", ".gitattributes": b""}
        push = (
            f"from dhrd import Classifier; print(Classifier.from_pretrained({str(directory)!r}).push_to_hub({NAME!r}))"
        )
        assert python(push, hub, tmp_path / "home") == [f"https://huggingface.co/{NAME}/commit/{COMMIT}"]
        of_artifact = written - {"predictions.jsonl", "weights.bin", "checkpoints"}
        assert set(hub.files) == of_artifact | {"weights.bin", ".gitattributes"}
        assert hub.files["model.safetensors"] == (directory / "model.safetensors").read_bytes()

        loaded, unknown = python(LOAD, hub, tmp_path / "home")
        assert hub.downloaded == of_artifact  # no pickle
        offline, unknown_offline = python(LOAD, hub, tmp_path / "home", HF_HUB_OFFLINE="1")
    expected = dhrd.Classifier.from_pretrained(directory, device="cpu", dtype=None).predict_proba(["case 1"])
    assert loaded == offline == str(expected.tolist()[0])
    for line in (unknown, unknown_offline):
        assert line.startswith("ArtifactError: some-org/unknown: neither a local directory nor an artifact on the hub")
        assert len(line) < 400


def test_an_upload_without_a_hub_is_one_line(tmp_path: Path) -> None:
    directory = save_tiny(tmp_path / "artifact")
    program = f"""
from pathlib import Path
from dhrd.artifact.hub import push_artifact
from dhrd.errors import DhrdError
try:
    push_artifact(Path({str(directory)!r}), {NAME!r})
except DhrdError as error:
    print(error)
"""
    with serving_hub(NAME) as hub:
        (line,) = python(program, hub, tmp_path / "home", HF_HUB_OFFLINE="1")
    assert line.startswith(f"{directory} was not uploaded to {NAME} (Cannot reach")
    assert "offline mode is enabled" in line


@pytest.mark.parametrize("name", ["output", "./output", "runs/output", "~/out/put", "a/b/c", "/a/b", Path("org/name")])
def test_a_path_is_not_looked_up(name: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("it was looked up"))
    (tmp_path / "runs").mkdir()  # so `runs/output` is a directory that is missing
    assert find_artifact(name) == Path(name).expanduser()


def test_what_is_not_finished_is_not_uploaded(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not a dhrd artifact"):
        push_artifact(tmp_path, NAME)


def test_a_classifier_without_a_directory_has_nothing_to_upload(tmp_path: Path) -> None:
    loaded = dhrd.Classifier.from_pretrained(save_tiny(tmp_path / "artifact"), device="cpu", dtype=None)
    bare = dhrd.Classifier(loaded.body, loaded.head, loaded.tokenizer, loaded.info)
    with pytest.raises(ArtifactError, match=r"not loaded from a directory that contains the artifact"):
        bare.push_to_hub(NAME)


def test_no_pattern_takes_a_pickle() -> None:
    assert len(FILES) >= 20
    raw = {"openvino_model.bin"}  # tensors one after the other, as its .xml names them
    assert not any(name.endswith((".bin", ".pt", ".pkl", "*")) for name in {*FILES} - raw)
