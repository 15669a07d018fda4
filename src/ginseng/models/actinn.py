"""References of actinn-jax as states: read from its data files, never by its code."""

from __future__ import annotations

import gzip
import io
import math
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ginseng._core.cascade import Cascade
from ginseng._disk.safe_json import parsed
from ginseng.model.state import GinsengClassifierState

#: Bytes of all files of a reference together, and of one of text.
MAX_BYTES, MAX_TEXT = 512 * 2**20, 16 * 2**20
#: Files of a reference, and hidden layers of a network.
MAX_FILES, MAX_LAYERS = 512, 16

DISTRIBUTION = "actinn-jax"
_MEMBER = ".npy"


class ReferenceFileError(ValueError):
    """Files that are no reference of actinn-jax, or damaged."""


def packaged_folder(name: str) -> Path | None:
    """Return the folder of a reference that an installed actinn-jax brings along; None if there is none."""
    try:
        folder = Path(str(distribution(DISTRIBUTION).locate_file(f"actinn_jax/references/{name}")))
    except PackageNotFoundError:
        return None
    return folder if (folder / "manifest.json").is_file() else None


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the files of a reference, by name."""
    paths = [path for path in sorted(folder.iterdir()) if path.suffix in (".json", ".npz")]
    _check_sizes([path.stat().st_size for path in paths])
    return {path.name: path.read_bytes() for path in paths}


def archived_files(path: Path) -> dict[str, bytes]:
    """Return the files in a `.tar.gz` of a reference, by name; nothing is unpacked to disk."""
    try:
        return _members(path)
    except (EOFError, zlib.error, tarfile.TarError, gzip.BadGzipFile) as error:
        msg = f"{path} is not an actinn-jax reference archive: {error}"
        raise ReferenceFileError(msg) from error


def _members(path: Path) -> dict[str, bytes]:
    with gzip.open(path) as packed:
        content = packed.read(MAX_BYTES + 1)
    _check_sizes([len(content)])
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        for member in archive:
            name = PurePosixPath(member.name).name
            if member.isdir() or not name.endswith((".json", ".npz")):
                continue
            file = archive.extractfile(member) if member.isreg() else None
            if file is None or name in files or len(files) >= MAX_FILES:
                msg = f"{path} has {member.name!r}, which is a link, there twice, or one file too many"
                raise ReferenceFileError(msg)
            files[name] = file.read()
    return files


def read_reference(files: Mapping[str, bytes]) -> GinsengClassifierState:
    """Return the state of a reference: its networks as one cascade.

    Its networks read log2(1 + counts per 10,000) of the genes of the reference; what log1p lacks to log2, their choice
    of genes and their scaling, if any, are folded into the first layer.

    Raises
    ------
    ReferenceFileError
        If the files contradict each other, or are none of a reference.
    """
    try:
        return _reference(files)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, zipfile.BadZipFile) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        msg = f"The reference of actinn-jax cannot be used: {reason}."
        raise ReferenceFileError(msg) from error


def _reference(files: Mapping[str, bytes]) -> GinsengClassifierState:
    manifest = _json(files, "manifest.json")
    genes, groups, coarse = _network(files, "coarse")
    labels: list[str] = []
    sizes: list[int] = []
    params: dict[str, Any] = {}
    for k, group in enumerate(groups):
        single = manifest["fine"][group]["single_label"]
        if single is not None:
            names = [single]
        else:
            own, names, params[f"group{k}"] = _network(files, f"fine_{group}")
            if own != genes:
                msg = f"the networks of {group!r} and of the groups read other genes"
                raise ValueError(msg)
            if len(names) == 1:
                del params[f"group{k}"]
        labels += names
        sizes.append(len(names))
    if len(groups) > 1:
        params["coarse"] = coarse
    if sorted(labels) != sorted(_texts(manifest["classes"], "classes")):
        msg = "the classes of the networks are not those of the manifest"
        raise ValueError(msg)
    widths = {tuple(len(layer["b"]) for layer in network.values())[:-1] for network in params.values()}
    if len(widths) != 1 or not next(iter(widths)):
        msg = f"the networks have hidden layers of different widths: {sorted(widths)}"
        raise ValueError(msg)
    *before, last = next(iter(widths))
    build = _json(files, "build_info.json") if "build_info.json" in files else {}
    state = GinsengClassifierState.of(
        Cascade(hidden_dim=last, dropout_rate=0.0, widths=tuple(before), groups=tuple(sizes)),
        params={**params, "offset": {"b": np.zeros(len(labels))}},
        genes=genes, label_keys=labels, label_values=np.arange(len(labels)), n_genes=len(genes), n_classes=len(labels),
        normalize=True, target_sum=1e4, library_size="model_genes",
        info={"build": build, "ontology": _ontology(manifest, labels)},
    )  # fmt: skip
    state.check()
    return state


def _ontology(manifest: Mapping[str, Any], labels: list[str]) -> dict[str, str]:
    ids = manifest.get("class_to_cl") or {}
    return {label: str(ids[label]) for label in labels if label in ids}


def _network(files: Mapping[str, bytes], name: str) -> tuple[list[str], list[str], dict[str, Any]]:
    """Return genes, classes and layers of one network."""
    about = _json(files, f"{name}.json")
    genes, classes = _texts(about["norm_genes"], "norm_genes"), _texts(about["classes"], "classes")
    arrays = _npz(files[f"{name}.npz"])
    n_layers = sum(key.startswith("W") for key in arrays)
    if not 1 < n_layers <= MAX_LAYERS:
        msg = f"{name!r} has {n_layers} layers"
        raise ValueError(msg)
    selected = arrays["select_idx"]
    if selected.dtype.kind not in "iu" or selected.ndim != 1 or len(np.unique(selected)) != len(selected):
        msg = f"{name!r} does not say which genes it reads"
        raise ValueError(msg)
    if len(selected) == 0 or selected.min() < 0 or selected.max() >= len(genes):
        msg = f"{name!r} reads genes that it does not have"
        raise ValueError(msg)
    W, b = arrays["W1"].astype(np.float64), arrays["b1"].astype(np.float64)
    if W.ndim != 2 or len(W) != len(selected):
        msg = f"{name!r} has weights of shape {W.shape} for {len(selected):,} genes"
        raise ValueError(msg)
    if "scale_mu" in arrays:
        W = W / arrays["scale_sd"].astype(np.float64)[:, None]
        b = b - arrays["scale_mu"].astype(np.float64) @ W
    first = np.zeros((len(genes), W.shape[1]))
    first[selected] = W / math.log(2)
    layers = {"layer1": {"W": first, "b": b}}
    layers |= {f"layer{i}": {"W": arrays[f"W{i}"], "b": arrays[f"b{i}"]} for i in range(2, n_layers + 1)}
    if layers[f"layer{n_layers}"]["b"].shape != (len(classes),):
        msg = f"{name!r} has {len(classes)} classes, and outputs of another number"
        raise ValueError(msg)
    return genes, classes, layers


def _json(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    if len(files[name]) > MAX_TEXT:
        msg = f"{name!r} has {len(files[name]):,} bytes, and may have {MAX_TEXT:,}"
        raise ValueError(msg)
    return parsed(files[name].decode("utf-8"), name)


def _texts(values: Any, name: str) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        msg = f"{name!r} are not names"
        raise TypeError(msg)
    return values


def _npz(content: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of an npz, each of which must have the bytes that its header says; no pickles."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        _check_sizes([member.file_size for member in members])
        return {member.filename.removesuffix(_MEMBER): _npy(archive.read(member)) for member in members}


def _npy(content: bytes) -> np.ndarray:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, fortran, dtype = read_header(file)
    if dtype.kind not in "fiu" or len(content) - file.tell() != math.prod(shape) * dtype.itemsize:
        msg = f"an array is of {dtype}{shape}, and its bytes are too few, too many, or no numbers"
        raise ValueError(msg)
    values = np.frombuffer(content, dtype, offset=file.tell())
    return values.reshape(shape, order="F" if fortran else "C")


def _check_sizes(sizes: list[int]) -> None:
    if sum(sizes) > MAX_BYTES or len(sizes) > MAX_FILES:
        msg = f"it has {len(sizes):,} files of {sum(sizes):,} bytes, and may have {MAX_FILES} of {MAX_BYTES:,}"
        raise ReferenceFileError(msg)
