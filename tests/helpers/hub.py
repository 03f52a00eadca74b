"""A stand-in for the Hugging Face hub on loopback: as much of its API as uploading and downloading a model asks."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789" * 4


class Hub(ThreadingHTTPServer):
    """One model repository that may be written, all others are unknown.

    Args:
        repository: Its name.

    Attributes:
        files: What it holds, once it was created.
        downloaded: The files that were asked for.
    """

    def __init__(self, repository: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repository = repository
        self.files: dict[str, bytes] = {}
        self.downloaded: set[str] = set()

    @property
    def url(self) -> str:
        """For `HF_ENDPOINT`."""
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving_hub(repository: str) -> Iterator[Hub]:
    """The stand-in, answering already."""
    with Hub(repository) as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""

    def do_HEAD(self) -> None:
        self._file()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if "/resolve/" in path:
            self._file()
        elif path.startswith(f"/api/models/{self.server.repository}/tree/"):
            named = self.server.files.items()
            self._json([{"type": "file", "path": name, "size": len(data), "oid": _oid(data)} for name, data in named])
        elif path.startswith(f"/api/models/{self.server.repository}"):
            self._json({"id": self.server.repository, "sha": COMMIT, "siblings": []})
        else:
            self._unknown()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self._json({"url": f"https://huggingface.co/{self.server.repository}"})
        elif self.path == "/api/validate-yaml":  # of the model card
            self._json({"errors": [], "warnings": []})
        elif not self.path.startswith(f"/api/models/{self.server.repository}/"):
            self._unknown()
        elif "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            self._json({"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "deletedFile":
                    del self.server.files[line["value"]["path"]]
            url = f"https://huggingface.co/{self.server.repository}/commit/{COMMIT}"
            self._json({"commitUrl": url, "commitOid": COMMIT})

    def _file(self) -> None:
        name = unquote(urlsplit(self.path).path).partition(f"/resolve/{COMMIT}/")[2]
        if (data := self.server.files.get(name)) is None:
            self._unknown("EntryNotFound")
            return
        self.server.downloaded.add(name)
        self._answer(200, data, {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": COMMIT})

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _unknown(self, code: str = "RepoNotFound") -> None:
        self._answer(404, b"{}", {"X-Error-Code": code})

    def _answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(data))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _oid(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()
