"""Downloads that break off are taken up again, but never with another version of the file."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ginseng._disk import download
from ginseng._disk.download import cached, fetch
from ginseng._settings import settings

FIRST, SECOND = (np.random.default_rng(seed).bytes(300_000) for seed in (0, 1))


class Handler(BaseHTTPRequestHandler):
    """Serves `server.content`; breaks off after `server.cut` bytes, and knows ranges if `server.tag` is set."""

    def do_GET(self) -> None:
        server: Any = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        start = 0
        if asked and server.tag and self.headers.get("If-Range") == server.tag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if server.tag:
            self.send_header("ETag", server.tag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(settings, "cache_dir", tmp_path / "cache")
    monkeypatch.setattr(settings, "progress_bar", False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found: Any = server
        found.content, found.tag, found.cut, found.asked = FIRST, '"v1"', None, []
        found.url = f"http://127.0.0.1:{server.server_port}/a.bin"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        server.shutdown()
        thread.join()


def get(source: Any, **how: Any) -> bytes:
    return fetch(source.url, check=lambda path: None, **how).read_bytes()


def break_off(source: Any, after: int) -> None:
    source.cut = after
    with pytest.raises(ConnectionError, match="broke off"):
        get(source)
    source.cut = None


def test_what_is_there_is_not_fetched_again(source: Any) -> None:
    break_off(source, 100_000)
    break_off(source, 100_000)
    assert get(source, known_hash=f"sha256:{hashlib.sha256(FIRST).hexdigest()}") == FIRST
    assert source.asked[0] is None
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in source.asked[1:]]
    assert 0 < starts[0] < starts[1] <= 200_000
    assert list(settings.cache_dir.iterdir()) == [cached(source.url)]  # nothing is left of the parts


def test_another_version_is_fetched_whole(source: Any) -> None:
    break_off(source, 100_000)
    source.content, source.tag = SECOND, '"v2"'
    assert get(source) == SECOND


def test_a_server_that_cannot_tell_versions(source: Any) -> None:
    source.tag = None
    break_off(source, 100_000)
    source.content = SECOND
    assert get(source) == SECOND
    assert source.asked == [None, None]


def test_a_part_that_is_longer_than_the_file(source: Any) -> None:
    break_off(source, 100_000)
    (part,) = [path for path in (settings.cache_dir / "partial").iterdir() if path.suffix == ""]
    part.write_bytes(b"x" * 400_000)
    with pytest.raises((ConnectionError, ValueError)):
        get(source, known_hash=hashlib.sha256(FIRST).hexdigest())
    assert get(source, known_hash=hashlib.sha256(FIRST).hexdigest()) == FIRST


def test_a_damaged_part_is_not_taken_up_for_ever(source: Any) -> None:
    break_off(source, 100_000)
    (part,) = [path for path in (settings.cache_dir / "partial").iterdir() if path.suffix == ""]
    part.write_bytes(b"x" * part.stat().st_size)
    known = hashlib.sha256(FIRST).hexdigest()
    with pytest.raises(ValueError, match="hash"):
        get(source, known_hash=known)
    assert get(source, known_hash=known) == FIRST


def test_again(source: Any) -> None:
    assert get(source) == FIRST
    source.content = SECOND
    assert get(source) == FIRST
    assert get(source, again=True) == SECOND
    source.cut = 10
    with pytest.raises(ConnectionError):
        get(source, again=True)
    assert cached(source.url) is not None
    assert get(source) == SECOND


def test_offline(source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    get(source)
    monkeypatch.setattr(settings, "offline", True)
    assert get(source) == FIRST
    with pytest.raises(ConnectionError, match="offline"):
        fetch(f"{source.url}2", check=lambda path: None)
    assert len(source.asked) == 1


def test_a_locked_part_is_left_alone(source: Any) -> None:
    part = settings.cache_dir / "partial" / hashlib.sha256(source.url.encode()).hexdigest()[:32]
    with download.claimed(part):
        assert get(source) == FIRST
