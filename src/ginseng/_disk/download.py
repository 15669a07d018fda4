"""Download files, and keep them in the cache folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import pooch
from pooch.utils import unique_file_name

from ginseng import _logging
from ginseng._disk.atomic import LockedError, claimed
from ginseng._settings import settings

_ASIDE = "Or download the file by other means and pass its path."
#: Timeouts in seconds, for the connection and between two reads.
TIMEOUT = (10, 60)


def fetch(url: str, known_hash: str | None = None, *, check: Callable[[Path], object], again: bool = False) -> Path:
    """Download a file once and return its path in the cache.

    Parameters
    ----------
    url
        An http or https address.
    known_hash
        Expected hash of the file: a SHA-256, or `"md5:..."` and the like.
    check
        Called with the complete download before it enters the cache; its exceptions are passed on.
    again
        Whether to download it even if it is cached. The cached file stays until the new one is complete.

    Returns
    -------
    A path in `settings.cache_dir`; its name starts with a hash of the URL and ends with the file's own name. The next
    call resumes an interrupted download, if the server can tell that the file has not changed.

    Raises
    ------
    FileNotFoundError, PermissionError, TimeoutError, ConnectionError
        If the server has no such file, requires a login, times out, or the download fails in another way; or if the
        file is not cached and `settings.offline` is set. The cache holds complete files only.
    ValueError
        If the file does not match `known_hash`.
    """

    def download(url: str, output_file: str, manager: Any) -> None:
        if settings.offline:
            msg = f"{url} is not in the cache, and `settings.offline` is set. {_ASIDE}"
            raise ConnectionError(msg)
        part = settings.cache_dir / "partial" / sha256(url.encode()).hexdigest()[:32]
        try:
            with claimed(part):
                _resume(url, part, manager)
                part.replace(output_file)
                _forget(part)
        except LockedError:  # another process is downloading it, so this one does the same on its own
            with open(output_file, "wb") as file, _clear_errors(url):
                _get(url, file, manager)
        finally:
            with suppress(OSError):  # other parts are still in the folder
                part.parent.rmdir()
        check(Path(output_file))

    with _quiet_pooch(), _logging.running(f"fetch of {url}") as report:
        name = unique_file_name(url)
        new = f"new-{name}" if again else name
        path = Path(pooch.retrieve(url, known_hash, new, path=settings.cache_dir, downloader=download))
        if again:
            path = path.replace(path.with_name(name))
        report(f"kept as {path}")
    return path


def cached(url: str) -> Path | None:
    """Return the path of a cached file; None if it is not cached."""
    path = settings.cache_dir / unique_file_name(url)
    return path if path.is_file() else None


def _get(url: str, file: IO[bytes], manager: Any, **options: Any) -> None:
    get = pooch.HTTPDownloader(progressbar=_logging.has_bar(), chunk_size=1 << 16, timeout=TIMEOUT, **options)
    get(url, file, manager)


def _resume(url: str, part: Path, manager: Any) -> None:
    """Download the rest of `part`; existing bytes are kept if the server says that the file has not changed."""
    tag = part.with_suffix(".tag")  # ETag of the version that `part` belongs to
    known = tag.read_text() if part.exists() and tag.exists() else ""
    with part.open("ab" if known else "wb") as file:

        def look(response: Any, **_: Any) -> None:
            if response.status_code == 200:  # the whole file, from the start
                file.truncate(0)
                version = response.headers.get("ETag", "")
                if version.startswith('"') and response.headers.get("Accept-Ranges") != "none":
                    tag.write_text(version)
            elif response.status_code == 416:
                _forget(part)

        headers = {"Accept-Encoding": "identity"}
        if known and file.tell():
            headers |= {"Range": f"bytes={file.tell()}-", "If-Range": known}
        try:
            with _clear_errors(url):
                _get(url, file, manager, headers=headers, hooks={"response": look})
        except BaseException:
            if not (tag.exists() and file.tell()):
                _forget(part)
            raise


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_suffix(".tag").unlink(missing_ok=True)


@contextmanager
def _clear_errors(url: str) -> Iterator[None]:
    import requests  # slow to import, as in pooch

    try:
        yield
    except requests.HTTPError as error:
        response = error.response
        assert response is not None
        response.close()
        msg = f"{url} cannot be downloaded: {response.status_code} {response.reason}. "
        if response.status_code in (404, 410):
            raise FileNotFoundError(msg + "Check the address.") from error
        if response.status_code in (401, 403):
            raise PermissionError(msg + f"It requires a login, or the link has expired. {_ASIDE}") from error
        raise ConnectionError(msg + f"Try again later. {_ASIDE}") from error
    except requests.RequestException as error:
        # requests raises a plain ConnectionError for a timeout in the middle of a file
        if isinstance(error, requests.Timeout) or "timed out" in str(error):
            connect, read = TIMEOUT
            msg = f"{url} did not connect within {connect} s, or sent nothing for {read} s. Try again. {_ASIDE}"
            raise TimeoutError(msg) from error
        msg = f"{url} cannot be downloaded, or the download broke off: {error}. Try again. {_ASIDE}"
        raise ConnectionError(msg) from error


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    # pooch logs at its own level; `settings.verbosity` decides what users see
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
