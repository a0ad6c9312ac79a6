"""A stand-in for the W&B server on this machine: a few GraphQL answers, and a note of what came.

The client is the real one. Only what it asks in these tests is answered; anything else gets an
empty answer and is noted as well.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Loopback:
    """Answers GraphQL operations by name.

    Attributes:
        answers: for each operation, its variables → its data.
        asked: the operations that came, with their variables.
        history: where a run's rows were to go, and the rows, piece by piece.
    """

    def __init__(self, **answers: Answer) -> None:
        viewer = {"id": "1", "entity": "team", "username": "me", "email": "", "flags": "{}"}
        viewer["teams"] = {"edges": []}  # type: ignore[assignment]
        self.answers: dict[str, Answer] = {"Viewer": lambda _: {"viewer": viewer}, **answers}
        self.answers["GetDefaultEntity"] = self.answers["Viewer"]
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.history: list[tuple[int, list[Any]]] = []

    def answer(self, body: bytes) -> bytes:
        try:
            request = json.loads(body)
        except ValueError:  # telemetry, which is of no interest
            return b"{}"
        if "query" not in request:
            self._stream(request.get("files") or {})
            return b"{}"
        operation = re.search(r"(?:query|mutation)\s+(\w+)", request["query"])
        name, variables = operation[1] if operation else "", request.get("variables") or {}
        self.asked.append((name, variables))
        return json.dumps({"data": self.answers.get(name, lambda _: {})(variables)}).encode()

    def _stream(self, files: Mapping[str, Any]) -> None:
        if rows := files.get("wandb-history.jsonl"):
            self.history.append((rows["offset"], [json.loads(row) for row in rows["content"]]))

    def variables(self, operation: str) -> list[Mapping[str, Any]]:
        return [variables for name, variables in self.asked if name == operation]


@contextmanager
def serving(loopback: Loopback) -> Iterator[str]:
    """Serve on a free port; the address is yielded."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = loopback.answer(self.rfile.read(int(self.headers.get("content-length", 0))))
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
