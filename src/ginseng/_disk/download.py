"""Files behind a URL, kept in the cache folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pooch

from ginseng import _logging
from ginseng._settings import settings

#: Seconds to wait for a connection, and for the next bytes.
TIMEOUT = (10, 60)


def fetch(url: str, known_hash: str | None = None, *, check: Callable[[Path], object]) -> Path:
    """Download a file once, and return where it is kept.

    Parameters
    ----------
    url
        An http or https address.
    known_hash
        What the file must hash to: a SHA-256, or `"md5:..."` and the like.
    check
        Called with the complete download before it enters the cache; what it raises is passed on.

    Returns
    -------
    A path in `settings.cache_dir`; its name starts with a hash of the URL and ends with the file's own name.

    Raises
    ------
    FileNotFoundError, PermissionError, TimeoutError, ConnectionError
        If the server has no such file, wants a login, falls silent, or anything else goes wrong on the way.
        The cache holds only complete files.
    ValueError
        If the file does not match `known_hash`.
    """

    def download(url: str, output_file: str, manager: Any) -> None:
        get = pooch.HTTPDownloader(progressbar=_logging.has_bar(), chunk_size=1 << 18, timeout=TIMEOUT)
        with _clear_errors(url):
            get(url, output_file, manager)
        check(Path(output_file))

    with _quiet_pooch(), _logging.running(f"fetch of {url}") as report:
        path = Path(pooch.retrieve(url, known_hash, path=settings.cache_dir, downloader=download))
        report(f"kept as {path}")
    return path


@contextmanager
def _clear_errors(url: str) -> Iterator[None]:
    import requests  # slow to import, as in pooch

    aside = "Or download the file by other means and pass its path."
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
            raise PermissionError(msg + f"It wants a login, or the link has expired. {aside}") from error
        raise ConnectionError(msg + f"Try again later. {aside}") from error
    except requests.RequestException as error:
        # requests wraps silence in the middle of a file in a plain ConnectionError
        if isinstance(error, requests.Timeout) or "timed out" in str(error):
            connect, read = TIMEOUT
            msg = f"{url} did not connect within {connect} s, or sent nothing for {read} s. Try again. {aside}"
            raise TimeoutError(msg) from error
        msg = f"{url} cannot be downloaded, or broke off: {error}. Try again. {aside}"
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
