"""Fixtures that any test may use."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dhrd import Classifier
    from helpers.fork import ForkServer

try:  # its handler keeps the stderr of its import, and closes it with itself: not the one that pytest reads
    captured, sys.stderr = sys.stderr, sys.__stderr__
    import absl.logging  # noqa: F401
except ImportError:
    pass
finally:
    sys.stderr = captured

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_collection_finish() -> None:
    """What is imported by now stays: full collections of garbage need not look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def fresh_accelerator() -> Iterator[None]:
    """accelerate's state is global to the process, and refuses a second precision."""
    yield
    if state := sys.modules.get("accelerate.state"):
        state.AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(autouse=True, scope="session")
def heeded_signals() -> Iterator[None]:
    """Shells start background jobs with these ignored, and their children inherit it: no test of a kill could pass."""
    wanted = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the working tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real SuperGLUE data and rationales, which the project does not ship."""
    folder = (REPOSITORY / ".." / "shared" / "data").resolve()
    if not (folder / "superglue").is_dir():
        pytest.skip(f"real data is not there: {folder}")
    return folder


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random llama of a few thousand weights in a directory."""
    from helpers.runs import save_backbone

    return save_backbone(tmp_path_factory.mktemp("backbone") / "tiny-llama")


@pytest.fixture(scope="session")
def served_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of a few thousand random weights, which nobody changes."""
    from helpers.artifacts import save_tiny

    return save_tiny(tmp_path_factory.mktemp("served") / "tiny")


@pytest.fixture(scope="session")
def tiny_classifier(served_artifact: Path) -> Classifier:
    """It, loaded."""
    from dhrd import Classifier

    return Classifier.from_pretrained(served_artifact, device="cpu", dtype=None)


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """A process that runs commands in children that it forks, without imports to wait for."""
    from helpers.fork import ForkServer
    from helpers.runs import environment

    server = ForkServer(environment(TOKENIZERS_PARALLELISM="false", TQDM_DISABLE="1"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def commands(fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for a PATH, with a `dhrd` and a `python` that need not wait for imports."""
    directory = tmp_path_factory.mktemp("commands")
    fork_server.write_commands(directory)
    return directory
