"""The server as a Ray Serve deployment, with a fixed number of replicas or autoscaling.

serve run dhrd.serving.ray:app model=output replicas=2
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, ValidationInfo, field_validator

from dhrd._extras import require
from dhrd.errors import ConfigError
from dhrd.inference.classifier import Classifier
from dhrd.serving.app import create_app
from dhrd.serving.limits import API_KEY, Limits
from dhrd.serving.threads import in_own_thread

if TYPE_CHECKING:
    from fastapi import FastAPI

MODEL = "DHRD_MODEL"
"""The environment variable that names the artifact if no argument does."""

_LIMITS = frozenset(field.name for field in fields(Limits))


class ReplicaSettings(BaseModel):
    """Settings of the replicas.

    Args:
        model: The artifact, at a path that exists on every machine.
        name: The model's name for clients; None: the directory's name.
        device: "cpu" or "cuda"; None: a GPU if the replica has one.
        dtype: See `Classifier.from_pretrained`.
        replicas: Number of replicas; the minimum if autoscaling.
        max_replicas: Maximum number of replicas under load; None: `replicas`.
        num_cpus: Cores per replica.
        num_gpus: GPUs per replica; several replicas may share one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    name: str | None = None
    device: str | None = None
    dtype: str | None = "auto"
    replicas: int = Field(1, ge=1)
    max_replicas: int | None = Field(None, ge=1)
    num_cpus: float = Field(1, gt=0)
    num_gpus: float = Field(0, ge=0)

    @field_validator("max_replicas")
    @classmethod
    def _not_below_the_least(cls, given: int | None, info: ValidationInfo) -> int | None:
        least = info.data.get("replicas", 1)
        if given is not None and given < least:
            raise ValueError(f"{given} is below `replicas`, {least}, the number that always runs")
        return given


def app(arguments: Mapping[str, Any]) -> Any:
    """Build the application for `serve run`, or for the `args` of a Serve config file.

    Args:
        arguments: Fields of `ReplicaSettings` and `Limits`, by name. `model` defaults to DHRD_MODEL from the
            environment; if DHRD_API_KEY is set there, requests must carry that key.

    Returns:
        A bound deployment, named Classifier.

    Raises:
        ConfigError: An argument is unknown, or its value is invalid.
        MissingExtra: Ray Serve, or the extra `serve`, is not installed.
    """
    serve = require("ray.serve", extra="ray")
    settings, limits = read_arguments(arguments)
    key = os.environ.get(API_KEY) or None

    def build() -> FastAPI:
        return replica_app(settings, limits, key)

    scale: dict[str, Any] = {"num_replicas": settings.replicas}
    if settings.max_replicas is not None:
        scale = {"autoscaling_config": {"min_replicas": settings.replicas, "max_replicas": settings.max_replicas}}
    return serve.deployment(
        serve.ingress(build)(),
        name="Classifier",
        max_ongoing_requests=limits.max_requests,  # enough to form batches
        ray_actor_options={"num_cpus": settings.num_cpus, "num_gpus": settings.num_gpus},
        **scale,
    ).bind()


def read_arguments(arguments: Mapping[str, Any]) -> tuple[ReplicaSettings, Limits]:
    """Parse settings and limits from the arguments of `serve run`, where every value is a string.

    Raises:
        ConfigError: An argument is unknown, or its value is invalid.
    """
    given = {"model": os.environ.get(MODEL), **arguments}
    if not given["model"]:
        raise ConfigError(f"`model` is missing; give `model=DIR`, or set {MODEL}")
    try:
        limits = TypeAdapter(Limits).validate_python({name: given.pop(name) for name in _LIMITS & given.keys()})
        return ReplicaSettings.model_validate(given), limits
    except ValidationError as error:
        first = error.errors()[0]
        known = ", ".join([*ReplicaSettings.model_fields, *sorted(_LIMITS)])
        what = str(first["msg"]).removeprefix("Value error, ")
        raise ConfigError(f"`{first['loc'][0]}`: {what}; arguments are {known}") from error


def replica_app(settings: ReplicaSettings, limits: Limits, key: str | None) -> FastAPI:
    """Create a replica's application; this loads its classifier."""
    load = partial(Classifier.from_pretrained, settings.model, device=settings.device, dtype=settings.dtype)
    name = settings.name or Path(settings.model).resolve().name
    return create_app(in_own_thread(load), name=name, limits=limits, key=key).app
