"""Which models there are by name, from the package, a user's folder, and lists behind a URL."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from functools import cache, partial
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args
from urllib.parse import urljoin, urlsplit

from ginseng._disk.download import cached, fetch
from ginseng._disk.safe_json import parsed
from ginseng._errors import suggest
from ginseng._settings import settings
from ginseng.model.logistic import CELLTYPIST

type Format = Literal["ginseng", "actinn-jax", "celltypist"]

CELLTYPIST_URL = "https://celltypist.cog.sanger.ac.uk/models/models.json"
CELLTYPIST_PREFIX = "celltypist/"
#: Bytes of a list, and characters of one of its texts.
MAX_LIST, MAX_CHARACTERS = 4 * 2**20, 4_000


class CatalogueError(ValueError):
    """A list of models that cannot be read."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model that has a name.

    Attributes
    ----------
    name, also
        Its names.
    format
        What its file is.
    species, tissues, n_classes, n_genes, gene_ids, source, licence, citation
        What is known of it; empty or None where it is not.
    url, sha256
        Where it is fetched from, and what that hashes to.
    version
        Tells one state of the file from another where there is no hash.
    path
        The file of a user's own model.
    """

    name: str
    also: tuple[str, ...] = ()
    format: Format = "ginseng"
    species: str = ""
    tissues: str = ""
    n_classes: int | None = None
    n_genes: int | None = None
    gene_ids: str = ""
    source: str = ""
    licence: str = ""
    citation: str = ""
    url: str = ""
    sha256: str = ""
    version: str = ""
    path: Path | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All of its names."""
        return (self.name, *self.also)

    @property
    def reference(self) -> dict[str, str]:
        """What a model file, and an AnnData with its labels, keep of where the model is from."""
        shown = ("name", "species", "tissues", "source", "licence", "citation", "url", "version")
        return {name: value for name in shown if (value := getattr(self, name))}


def find(name: str) -> Entry:
    """Return the entry of this name; lists behind a URL are fetched if no other has it.

    Raises
    ------
    FileNotFoundError
        If none has.
    """
    wanted = name.removesuffix(".pkl") if name.startswith(CELLTYPIST_PREFIX) else name
    for refresh in (False, True):
        known = entries(refresh=refresh, wanted=wanted)
        for entry in known:
            if wanted in entry.names:
                return entry
    names = [name for entry in known for name in entry.names]
    msg = f"There is no model {name!r}, neither a file nor a name. {suggest(name, names)} "
    msg += "`ginseng models list --refresh` shows more."
    raise FileNotFoundError(msg)


def entries(*, refresh: bool = False, wanted: str | None = None) -> list[Entry]:
    """Return all models that are known, a user's own first.

    Parameters
    ----------
    refresh
        Whether lists behind a URL are fetched; else those that are in the cache are read.
    wanted
        Only the list that could have this name is fetched.
    """
    found = [*_own(), *_packaged()]
    if settings.models_url:
        found += _listed(_own_list(), refresh=refresh)
    celltypist = wanted is None or wanted.startswith(CELLTYPIST_PREFIX)
    found += _listed(CELLTYPIST_URL, refresh=refresh and celltypist)
    return list({entry.name: entry for entry in reversed(found)}.values())[::-1]


def download(entry: Entry, check: Any) -> Path:
    """Return the file of an entry, fetched if it is not in the cache."""
    known_hash = f"sha256:{entry.sha256}" if entry.sha256 else None
    addresses = list(_addresses(entry.url))
    for address in addresses[:-1]:
        try:
            return fetch(address, known_hash, check=check)
        except FileNotFoundError:  # on a mirror, at another place
            continue
    return fetch(addresses[-1], known_hash, check=check)


def _own_list() -> str:
    base = str(settings.models_url)
    return base if base.endswith(".json") else f"{base.rstrip('/')}/models.json"


def _addresses(url: str) -> Iterator[str]:
    """Yield where a file may be: at its URL or, with a mirror, at the same path there, or by its name."""
    if not settings.models_url:
        yield url
        return
    base = urljoin(_own_list(), ".").rstrip("/")
    if url.startswith(base):
        yield url
        return
    path = urlsplit(url).path
    yield base + path
    yield f"{base}/{PurePosixPath(path).name}"


def _listed(url: str, *, refresh: bool) -> list[Entry]:
    """Return the entries of a list behind a URL, or of what the cache has of it."""
    for address in _addresses(url):
        if refresh:
            try:
                return _read(fetch(address, check=partial(_read, address=address), again=True), address)
            except FileNotFoundError:
                continue
        elif (path := cached(address)) is not None:
            return _read(path, address)
    return []


def _own() -> Iterator[Entry]:
    """Yield the models in the user's folder."""
    if settings.models_dir is None:
        return
    folder = Path(settings.models_dir).expanduser()
    if not folder.is_dir():
        msg = f"`settings.models_dir` is {folder}, which is not a folder."
        raise NotADirectoryError(msg)
    for path in sorted([*folder.glob("*.h5"), *folder.glob("*.pkl")]):
        yield Entry(path.stem, format="celltypist" if path.suffix == ".pkl" else "ginseng", path=path)


@cache
def _packaged() -> tuple[Entry, ...]:
    text = files("ginseng.models").joinpath("models.json").read_text(encoding="utf-8")
    return tuple(_entry(values, "") for values in json.loads(text)["models"])


def _read(path: Path, address: str) -> list[Entry]:
    """Return the entries of a list.

    Raises
    ------
    CatalogueError
        If it is none.
    """
    try:
        if path.stat().st_size > MAX_LIST:
            msg = f"it has over {MAX_LIST:,} bytes"
            raise CatalogueError(msg)
        return [_entry(values, address) for values in parsed(path.read_text(encoding="utf-8"), path.name)["models"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        msg = f"{address} is not a list of models: {error}"
        raise CatalogueError(msg) from error


def _entry(values: dict[str, Any], address: str) -> Entry:
    """Return an entry of a list of ginseng or of CellTypist."""
    if "filename" in values:
        return _celltypist_entry(values, address)
    known = {field.name: field for field in dataclasses.fields(Entry) if field.name != "path"}
    given: dict[str, Any] = {name: value for name, value in values.items() if name in known and value is not None}
    for name, value in given.items():
        number = name in ("n_classes", "n_genes")
        if name != "also" and (type(value) is not (int if number else str) or len(str(value)) > MAX_CHARACTERS):
            msg = f"{name!r} is {str(value)[:40]!r}"
            raise TypeError(msg)
    given["also"] = tuple(str(name) for name in given.get("also", ()))
    if given.get("format", "ginseng") not in get_args(Format.__value__) or not given["name"]:
        msg = f"{given['name']!r} is of an unknown format, or without a name"
        raise ValueError(msg)
    return Entry(**given | {"url": _absolute(given.get("url", ""), address)})


def _celltypist_entry(values: dict[str, Any], address: str) -> Entry:
    text = {k: str(v)[:MAX_CHARACTERS] for k, v in values.items() if isinstance(v, str)}
    n_classes = values.get("No_celltypes")
    details = text.get("details", "")
    return Entry(
        CELLTYPIST_PREFIX + PurePosixPath(text["filename"]).name.removesuffix(".pkl"),
        format="celltypist",
        species="mouse" if "mouse" in f"{text['filename']} {details}".lower() else "",
        tissues=details,
        n_classes=n_classes if isinstance(n_classes, int) else None,
        gene_ids="symbols",
        source=text.get("source", ""),
        licence=CELLTYPIST["licence"],
        citation=CELLTYPIST["citation"],
        url=_absolute(text["url"], address),
        version=" ".join(filter(None, (text.get("version"), text.get("date")))),
    )


def _absolute(url: str, address: str) -> str:
    url = urljoin(address, url)
    if urlsplit(url).scheme not in ("http", "https"):
        msg = f"{url!r} is not an http or https address"
        raise ValueError(msg)
    return url
