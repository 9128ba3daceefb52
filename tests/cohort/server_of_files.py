"""A server of files on loopback, with the vices that real ones have."""

import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Files:
    """What is served, how, and what was asked for."""

    content: dict[str, bytes]  # path -> bytes
    parts: bool = True  # whether Range is understood
    etag: str = '"one"'  # '' for none
    changed: str = "Mon, 02 Jan 2006 15:04:05 GMT"  # '' for none
    cut: list[int] = field(default_factory=list)  # after so many bytes of its body, each of the next answers is cut off
    busy: int = 0  # so many of the next answers are 503
    length: bool = True  # whether Content-Length is told
    kind: str = "application/octet-stream"
    heeds_if_range: bool = True
    slow: float = 0  # seconds before each 20,000 bytes
    asked: list[tuple[str, str]] = field(default_factory=list)  # path and Range of each request
    sent: int = 0  # bytes of bodies, all together
    address: str = ""


@contextmanager
def serving(files: Files) -> Iterator[Files]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            pass

        def do_GET(self):
            self.close_connection = True
            asked = self.headers.get("Range", "")
            files.asked.append((self.path, asked))
            if files.busy:
                files.busy -= 1
                self.answer(503, b"")
            elif self.path not in files.content:
                self.answer(404, b"gone")
            else:
                self.send(files.content[self.path], asked)

        def send(self, body, asked):
            same = self.headers.get("If-Range", "") in ("", files.etag, files.changed) or not files.heeds_if_range
            if asked and files.parts and same:
                start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
                if start >= len(body):
                    self.answer(416, b"", [("Content-Range", f"bytes */{len(body)}")])
                    return
                span = ("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                self.answer(206, body[start:], [span], files.cut.pop(0) if files.cut else None)
            else:
                self.answer(200, body, cut=files.cut.pop(0) if files.cut else None)

        def answer(self, status, body, headers=(), cut=None):
            self.send_response(status)
            told = [("Content-Type", files.kind), ("ETag", files.etag), ("Last-Modified", files.changed), *headers]
            told += [("Content-Length", str(len(body)))] if files.length else [("Transfer-Encoding", "chunked")]
            for name, value in told:
                if value:
                    self.send_header(name, value)
            self.end_headers()
            sent = body[:cut]
            files.sent += len(sent)
            if files.length:
                step = 20_000 if files.slow else len(sent) or 1
                for start in range(0, len(sent), step):
                    time.sleep(files.slow)
                    self.wfile.write(sent[start : start + step])
                return
            self.wfile.write(b"%x\r\n%s\r\n" % (len(sent), sent))
            if cut is None:
                self.wfile.write(b"0\r\n\r\n")

    class Server(ThreadingHTTPServer):
        def handle_error(self, request, client_address):
            if not isinstance(sys.exception(), ConnectionError):  # a client that was killed
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    files.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield files
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
