"""What `serve run` hands over, and what a replica is; replicas are run in tests/e2e/test_ray_serve.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.errors import ConfigError
from dhrd.serving.limits import Limits
from dhrd.serving.ray import ReplicaSettings, read_arguments, replica_app

pytest.importorskip("fastapi", reason="no fastapi: pip install 'dhrd[serve]'")
httpx = pytest.importorskip("httpx")


def test_arguments_are_texts_or_values() -> None:
    texts = {"model": "output", "replicas": "2", "max_rows": "7", "num_gpus": "0.5", "deadline_s": "1.5"}
    settings, limits = read_arguments(texts)
    assert settings == ReplicaSettings(model="output", replicas=2, num_gpus=0.5)
    assert limits == Limits(max_rows=7, deadline_s=1.5)
    assert read_arguments({"model": "output", "replicas": 2, "max_rows": 7, "num_gpus": 0.5, "deadline_s": 1.5}) == (
        settings,
        limits,
    )


def test_the_environment_names_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DHRD_MODEL", "there")
    assert read_arguments({})[0].model == "there"
    assert read_arguments({"model": "here"})[0].model == "here"
    monkeypatch.delenv("DHRD_MODEL")
    with pytest.raises(ConfigError, match="`model` is missing"):
        read_arguments({})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("replicas", "0", "`replicas`: Input should be greater than or equal to 1"),
        ("max_replicas", "0", "`max_replicas`: Input should be greater than or equal to 1"),
        ("replica", "2", "`replica`: Extra inputs are not permitted; arguments are model, name, device"),
        ("max_rows", "many", "`max_rows`: Input should be a valid integer"),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_arguments({"model": "output", name: value})


def test_the_most_replicas_are_not_below_the_least() -> None:
    with pytest.raises(ConfigError, match="`max_replicas`: 2 is below `replicas`, 5, the number that always runs;"):
        read_arguments({"model": "output", "replicas": "5", "max_replicas": "2"})
    assert read_arguments({"model": "output", "replicas": "5", "max_replicas": "5"})[0].max_replicas == 5


async def answer(app: object, key: str | None) -> tuple[int, dict[str, object]]:
    transport = httpx.ASGITransport(app=app)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(transport=transport, base_url="http://replica", headers=headers) as client:
        response = await client.get("/info")
        return response.status_code, response.json()


def test_a_replica_is_the_same_application(served_artifact: Path) -> None:
    import asyncio

    settings = ReplicaSettings(model=str(served_artifact), device="cpu", dtype="float32")
    app = replica_app(settings, Limits(max_rows=7), "secret")
    assert asyncio.run(answer(app, None))[0] == 401
    status, info = asyncio.run(answer(app, "secret"))
    assert (status, info["model"]) == (200, "tiny")
    assert info["limits"]["max_rows"] == 7  # type: ignore[index]
