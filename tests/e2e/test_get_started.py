"""The way of docs/get-started.md from a CSV file to a served, certified classifier, as it is written there.

Its config trains two small layers from random weights: about a minute of processor time.
"""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
from pathlib import Path

from helpers.runs import environment
from helpers.serving import httpx


def test_from_a_csv_to_a_served_certified_classifier_in_five_commands(
    repository: Path, commands: Path, tmp_path: Path
) -> None:
    text = (repository / "docs" / "get-started.md").read_text(encoding="utf-8")
    block = re.search(r"in five commands\n\n```sh\n(.*?)```", text, re.DOTALL)
    assert block is not None
    install, *lines, serve = block[1].splitlines()
    assert install.startswith("pip install '.[serve]'") and serve.startswith("dhrd serve --model output")
    assert sum(line.startswith("dhrd ") for line in (*lines, serve)) == 5
    for name in ("examples", "configs"):
        (tmp_path / name).symlink_to(repository / name)
    here = {"cwd": tmp_path, "env": environment(PATH=f"{commands}{os.pathsep}{os.environ['PATH']}"), "text": True}
    done = subprocess.run(["bash", "-ec", "\n".join(lines)], capture_output=True, timeout=3600, **here)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    with (tmp_path / "labels.csv").open(newline="", encoding="utf-8") as file:
        labelled = list(csv.DictReader(file))
    shown = f"{len(labelled)} rows are in labels.csv; {sum(not row['label'] for row in labelled)} of them have no label"
    assert shown in done.stdout and len(labelled) == 500
    words = serve.partition("#")[0].split()
    check_served([str(commands / words[0]), *words[1:]], tmp_path, labelled, here)


def check_served(words: list[str], directory: Path, labelled: list[dict[str, str]], here: dict[str, object]) -> None:
    """The server says of rows what `dhrd predict` wrote about them, and ends on a signal."""
    with (directory / "test.csv").open(newline="", encoding="utf-8") as file:
        rows = [{"input_text": row["input_text"]} for row in csv.DictReader(file)][:50]
    server = subprocess.Popen([*words, "--port", "0"], stdout=subprocess.PIPE, **here)  # type: ignore[call-overload]
    try:
        url = server.stdout.readline().split()[3]
        data = httpx.post(f"{url}/classify", json={"input": rows}, timeout=60).json()["data"]
        assert [row["label"] or "" for row in data] == [row["label"] for row in labelled[:50]]
        assert {row["abstained"] for row in data} == {True, False}
        assert "<title>" in httpx.get(url).text
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
