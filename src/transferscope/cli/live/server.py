"""A page of a run, served to this machine alone.

Only reads. It listens on the loopback; a request that names another host is refused, so that no page from elsewhere
can reach it through a name of its own (DNS rebinding); the page may load nothing from anywhere else. All that is shown
comes as JSON and is set as text, never as HTML.
"""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, urlsplit

from transferscope.cli.live.state import Watcher
from transferscope.core.errors import BadInput

LOOPBACK = "127.0.0.1"
_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class WatchServer(ThreadingHTTPServer):
    """Serves the page of a watcher until it is closed.

    Args:
        watcher: looks at the folder.
        port: 0 for one that is free.

    Raises:
        BadInput: the port is taken, or not ours to take.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, watcher: Watcher, port: int = 0) -> None:
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise BadInput(
                f"--port {port}: can't listen there: {reason}. Choose another, or leave it out for one that is free."
            ) from None
        self._watcher, self._one_at_a_time = watcher, threading.Lock()

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{LOOPBACK}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle of an answer is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def document(self, since: int) -> dict[str, Any]:
        """The state now, and the curves that changed after a version."""
        with self._one_at_a_time:
            return {**asdict(self._watcher.look()), "curves": self._watcher.curves(since)}


class _Handler(BaseHTTPRequestHandler):
    server: WatchServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if not self._is_for_us():
            self._answer(HTTPStatus.FORBIDDEN, b"This page is for this machine alone.\n", "text/plain")
            return
        place = urlsplit(self.path)
        if place.path == "/state":
            since = parse_qs(place.query).get("since", ["0"])[0]
            document = self.server.document(int(since) if since.isdecimal() and len(since) < 10 else 0)
            self._answer(HTTPStatus.OK, json.dumps(document).encode(), "application/json")
        elif place.path in _FILES:
            name, kind = _FILES[place.path]
            content = (resources.files("transferscope.cli.live") / name).read_bytes()
            self._answer(HTTPStatus.OK, content, kind)
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"There is nothing here.\n", "text/plain")

    def version_string(self) -> str:
        return "transferscope"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""

    def _is_for_us(self) -> bool:
        port = self.server.server_port
        names = {f"{name}:{port}" for name in (LOOPBACK, "localhost")}
        if port == 80:
            names |= {LOOPBACK, "localhost"}
        origin = self.headers.get("Origin")
        return self.headers.get("Host") in names and (
            origin is None or origin.removeprefix("http://") in names
        )

    def _answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
