"""The page of a run while it goes on: served on this machine only, from files that are read and never held."""

from __future__ import annotations

import json
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from equipoise.errors import InputError
from equipoise.report import page, page_record

HOST = "127.0.0.1"


class Live:
    """The page's parts, made anew when the run's files have changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()  # the server answers in threads
        self._files: Any = None
        self._record = page_record.read(folder)
        self._sections: dict[str, str] = {}

    def page(self) -> str:
        """The whole page as it stands."""
        with self._lock:
            self._update()
            return page.render([self._record], live=True)

    def changes(self, known: dict[str, str]) -> dict[str, dict[str, str]]:
        """The parts whose stamps are not those that are known, as HTML with their stamps."""
        with self._lock:
            self._update()
            stamped = {name: (text, page.stamp(text)) for name, text in self._sections.items()}
        return {name: {"html": text, "stamp": new} for name, (text, new) in stamped.items() if known.get(name) != new}

    def _update(self) -> None:
        files = page_record.files(self.folder)
        if files != self._files:
            self._record = page_record.read(self.folder)
            self._sections = page.sections([self._record], live=True)
            self._files = files


class Server(ThreadingHTTPServer):
    """Serves one run's page on 127.0.0.1."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.live = Live(folder)
        try:
            super().__init__((HOST, port), Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error).rstrip(".")
            raise InputError(f"port {port} cannot be listened on ({reason}); give another --port, or none") from None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up, as on every reload, is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    """Two addresses, the page and what has changed on it; no path leads to a file."""

    server: Server
    server_version = "equipoise"

    def do_GET(self) -> None:
        """Answer a browser on this machine; a foreign name in `Host` is that of a page that was led here."""
        if self.headers.get("Host") not in {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}:
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        asked = urlsplit(self.path)
        if asked.path == "/":
            self._answer("text/html; charset=utf-8", self._made(self.server.live.page))
        elif asked.path == "/changes":
            known = dict(parse_qsl(asked.query))
            self._answer("application/json", self._made(lambda: json.dumps(self.server.live.changes(known))))
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _made(self, make: Any) -> str | None:
        """What is asked for; None if the run's folder is gone."""
        try:
            return str(make())
        except (InputError, OSError):
            return None

    def _answer(self, kind: str, text: str | None) -> None:
        if text is None:
            self.send_error(HTTPStatus.GONE, "the run folder is gone")
            return
        content = text.encode(errors="backslashreplace")
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing: the terminal belongs to whoever watches."""
