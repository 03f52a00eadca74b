"""`dhrd serve`"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer

from dhrd._terminal import say
from dhrd.cli.options import Artifact, ClassifierOptions, Strict, grouped


@grouped
def serve(
    model: Artifact,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0: all interfaces.")] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free port.")] = 8000,
    name: Annotated[
        str | None, typer.Option(help="Model name shown to clients; default: the directory's name.")
    ] = None,
    strict: Strict = False,
    max_rows: Annotated[int, typer.Option(min=1, help="Maximum rows per request.")] = 128,
    max_bytes: Annotated[int, typer.Option(min=1, help="Maximum size of a request body, in bytes.")] = 2 << 20,
    max_requests: Annotated[int, typer.Option(min=1, help="Maximum number of concurrent requests.")] = 256,
    max_queue_tokens: Annotated[
        int, typer.Option(min=1, help="Maximum tokens of the rows queued for the model.")
    ] = 65_536,
    deadline_s: Annotated[
        float, typer.Option("--deadline", min=0.001, help="Seconds after which a request times out.")
    ] = 60.0,
    max_explained_rows: Annotated[
        int, typer.Option(min=0, help="Maximum rows per explanation request; 0: no explanations.")
    ] = 4,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Maximum tokens of an explanation.")] = 200,
    *,
    classifier: ClassifierOptions,
) -> None:
    """Serve a classifier over HTTP, with a web page at /.

    /classify is compatible with vLLM, /predict with text-embeddings-inference.

    If DHRD_API_KEY is set in the environment, requests must carry it: Authorization: Bearer KEY.
    """
    from dhrd._extras import require

    for module in ("fastapi", "uvicorn", "prometheus_client"):  # before loading a model in vain
        require(module, extra="serve")
    from dhrd.artifact.info import read_info

    read_info(model)
    from dhrd.inference.classifier import Classifier
    from dhrd.serving.app import create_app
    from dhrd.serving.limits import API_KEY, Limits
    from dhrd.serving.server import address, listen, run
    from dhrd.serving.threads import in_own_thread

    limits = Limits(
        max_rows=max_rows, max_bytes=max_bytes, max_requests=max_requests, max_queue_tokens=max_queue_tokens,
        deadline_s=deadline_s, max_explained_rows=max_explained_rows, max_new_tokens=max_new_tokens,
    )  # fmt: skip
    key = os.environ.get(API_KEY) or None
    with listen(host, port) as listener:
        load = partial(Classifier.from_pretrained, model, strict=strict, **asdict(classifier))
        served = create_app(in_own_thread(load), name=name or model.resolve().name, limits=limits, key=key)
        remarks = [] if key else [f"no key is required; set {API_KEY} to require one"]
        say(f"serving {model} at {address(listener)}", *remarks, file=sys.stdout)
        run(served, listener)
