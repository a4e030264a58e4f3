"""A web server for tests, on this machine: it serves bytes, and can be told to misbehave."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Site:
    """What is served, and what was asked for.

    Attributes:
        files: path -> content.
        cut_at: number of bytes after which a connection breaks; one break for each.
        ranges: whether a part of a file can be asked for.
        etag: names the version of all files; None: nothing does.
        lengths: whether the length of a file is told.
        asked: path and Range header of each request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cut_at: list[int] = field(default_factory=list)
    ranges: bool = True
    etag: str | None = '"one"'
    lengths: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    address: str = ""

    def url(self, path: str) -> str:
        return f"{self.address}/{path}"


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, span = urlsplit(self.path).path.lstrip("/"), self.headers["Range"]
            site.asked.append((path, span))
            if path not in site.files:
                self.send_error(404)
                return
            content = site.files[path]
            start = 0
            if span and site.ranges and self.headers["If-Range"] in (None, site.etag):
                start = int(span.removeprefix("bytes=").rstrip("-"))
            if start and start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if site.lengths:
                self.send_header("Content-Length", str(len(content) - start))
            if site.etag:
                self.send_header("ETag", site.etag)
            self.end_headers()
            self.wfile.write(content[start:][: site.cut_at.pop(0)] if site.cut_at else content[start:])

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
