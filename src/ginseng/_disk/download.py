"""Files behind a URL, kept in the cache folder."""

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
#: Seconds to wait for a connection, and for the next bytes.
TIMEOUT = (10, 60)


def fetch(url: str, known_hash: str | None = None, *, check: Callable[[Path], object], again: bool = False) -> Path:
    """Download a file once, and return where it is kept.

    Parameters
    ----------
    url
        An http or https address.
    known_hash
        What the file must hash to: a SHA-256, or `"md5:..."` and the like.
    check
        Called with the complete download before it enters the cache; what it raises is passed on.
    again
        Whether to fetch it also if it is in the cache, where it stays until the new one is complete.

    Returns
    -------
    A path in `settings.cache_dir`; its name starts with a hash of the URL and ends with the file's own name. What
    breaks off is taken up again by the next call, where the server can tell that the file is still the same.

    Raises
    ------
    FileNotFoundError, PermissionError, TimeoutError, ConnectionError
        If the server has no such file, wants a login, falls silent, or anything else goes wrong on the way; or if the
        file is not in the cache and `settings.offline` is set. The cache holds only complete files.
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
        except LockedError:  # another process fetches it, and this one on its own
            with open(output_file, "wb") as file, _clear_errors(url):
                _get(url, file, manager)
        finally:
            with suppress(OSError):  # others are still there
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
    """Return where a file is kept that has been fetched; None if it has not."""
    path = settings.cache_dir / unique_file_name(url)
    return path if path.is_file() else None


def _get(url: str, file: IO[bytes], manager: Any, **options: Any) -> None:
    get = pooch.HTTPDownloader(progressbar=_logging.has_bar(), chunk_size=1 << 16, timeout=TIMEOUT, **options)
    get(url, file, manager)


def _resume(url: str, part: Path, manager: Any) -> None:
    """Download what `part` lacks; what is there stays if the server says that the file has not changed."""
    tag = part.with_suffix(".tag")  # by which the server knows the version that the part is of
    known = tag.read_text() if part.exists() and tag.exists() else ""
    with part.open("ab" if known else "wb") as file:

        def look(response: Any, **_: Any) -> None:
            if response.status_code == 200:  # all of it, from the beginning
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
            raise PermissionError(msg + f"It wants a login, or the link has expired. {_ASIDE}") from error
        raise ConnectionError(msg + f"Try again later. {_ASIDE}") from error
    except requests.RequestException as error:
        # requests wraps silence in the middle of a file in a plain ConnectionError
        if isinstance(error, requests.Timeout) or "timed out" in str(error):
            connect, read = TIMEOUT
            msg = f"{url} did not connect within {connect} s, or sent nothing for {read} s. Try again. {_ASIDE}"
            raise TimeoutError(msg) from error
        msg = f"{url} cannot be downloaded, or broke off: {error}. Try again. {_ASIDE}"
        raise ConnectionError(msg) from error


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    # pooch speaks at its own level; what a user sees is up to `settings.verbosity`
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
