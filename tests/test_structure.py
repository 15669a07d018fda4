"""The shape of the package: which room may know which, and how public verbs are called."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import ginseng as gs

SOURCE = Path(gs.__file__).parent

#: What each room may import of the package, besides the single files at its root. Arrows go one way.
ROOMS: dict[str, set[str]] = {
    "_core": set(),
    "_disk": set(),
    "_cells": {"_disk"},
    "data": {"_cells", "_disk"},
    "datasets": {"_cells", "_disk"},
    "_select": {"_cells"},
    "pp": {"_cells", "_select", "_core"},
    "pl": {"_cells"},
    "get": {"_cells"},
    "_report": {"_cells", "_disk", "model", "models", "pp"},
    "model": {"_core", "_disk"},
    "models": {"_core", "_disk", "model"},
    "ontology": set(),
    "train": {"_core", "_disk", "_cells", "data", "model"},
    "_predict": {"_core", "_disk", "_cells", "data", "model", "models", "ontology"},
    "tl": {"_core", "_disk", "_cells", "data", "model", "models", "train", "_predict", "_select", "ontology"},
}
#: What every room may import: the one normalisation, which needs NumPy alone.
COMMON = "ginseng._core.normalize."
#: Import paths of the documentation of 0.2, which gather names; nothing in the package imports them.
FACADES = {"data.io", "model.instance", "model.nn", "model.predict", "train.augment", "train.opt", "utils.hvg", "utils"}
#: Libraries that only some rooms know.
LIBRARIES = {
    "jax": {"_core", "model", "train", "_predict"},
    "optax": {"_core", "train"},
    "matplotlib": {"pl", "_report"},
    "seaborn": {"pl"},
    "zarr": {"data", "_disk"},
    "dask": {"_cells"},
}
CORE_NEEDS = {"jax", "jaxtyping", "optax", "numpy"}


def modules() -> list[tuple[str, Path]]:
    return [
        (".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"), path)
        for path in sorted(SOURCE.rglob("*.py"))
    ]


def imports(path: Path) -> set[str]:
    """Absolute names of everything that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1, f"{path} climbs up to import"
            package = "ginseng." + ".".join(path.relative_to(SOURCE).parent.parts)
            module = node.module if node.level == 0 else f"{package}.{node.module or ''}".strip(".")
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def room_of(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize(("module", "path"), [m for m in modules() if room_of(m[0]) in ROOMS and m[0] not in FACADES])
def test_arrows_go_one_way(module: str, path: Path) -> None:
    more = {"pp._check": {"model", "models"}}  # to hold data against a model
    room = room_of(module)
    allowed = ROOMS[room] | {room} | more.get(module, set())
    names = {name for name in imports(path) if name.startswith("ginseng.") and not name.startswith(COMMON)}
    rooms = {name.split(".")[1] for name in names} & set(ROOMS)
    assert rooms <= allowed


def test_no_import_leads_back() -> None:
    """Between files as well, and for typing alone as well."""
    files = {module: path for module, path in modules() if module}

    def file_of(name: str) -> str:
        while name and name not in files:
            name = name.rpartition(".")[0]
        return name

    arrows = {
        module: {file_of(name.removeprefix("ginseng.")) for name in imports(path) if name.startswith("ginseng.")}
        - {"", "__init__", module}
        for module, path in files.items()
    }
    done: set[str] = set()

    def follow(module: str, way: list[str]) -> None:
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module not in done:
            for other in sorted(arrows[module]):
                follow(other, [*way, module])
            done.add(module)

    for module in arrows:
        follow(module, [])


def test_reading_and_preparing_data_needs_no_jax() -> None:
    import subprocess
    import sys

    code = "import sys; sys.modules['jax'] = None; import ginseng.pp, ginseng.data"  # annbatch has it if it is there
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("module", "path"), modules())
def test_facades_are_for_users(module: str, path: Path) -> None:
    if module in ("", "__init__", "ginseng") or path == SOURCE / "__init__.py" or module in FACADES:
        return
    used = {facade for facade in FACADES for name in imports(path) if name.startswith(f"ginseng.{facade}.")}
    assert not used


@pytest.mark.parametrize(("module", "path"), [m for m in modules() if room_of(m[0]) in ROOMS and m[0] not in FACADES])
def test_libraries_stay_in_their_rooms(module: str, path: Path) -> None:
    libraries = {name.split(".")[0] for name in imports(path)}
    assert not {name for name, rooms in LIBRARIES.items() if name in libraries and room_of(module) not in rooms}


def test_what_every_room_may_import_needs_numpy_alone() -> None:
    path = SOURCE / "_core/normalize.py"
    assert {name.split(".")[0] for name in imports(path)} <= {"__future__", "typing", "numpy"}


def test_cells_come_in_by_one_way() -> None:
    """Verbs get matrices, judged values and rows from `open_cells`; nobody else judges or cuts rows."""
    inner = {"held", "row_blocks", "judge", "judge_matrix", "check_matrix", "raw_as_adata"}
    for module, path in modules():
        if room_of(module) in ROOMS.keys() - {"_cells", "_disk"}:
            assert not {name.split(".")[-1] for name in imports(path) if name.startswith("ginseng._")} & inner, module


@pytest.mark.parametrize(("module", "path"), [m for m in modules() if room_of(m[0]) == "_core"])
def test_the_core_needs_only_jax(module: str, path: Path) -> None:
    import sys

    outside = {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names) - {"ginseng"}
    assert outside <= CORE_NEEDS
    assert all(name.startswith("ginseng._core") for name in imports(path) if name.startswith("ginseng"))


def test_no_architecture_is_named_outside_the_core() -> None:
    """Only what must name one does: the default, and files and names of the first generation."""
    may = {"_v02/network.py", "model/header.py", "train/settings.py", "model/classifier.py"}
    names = gs.model.architectures()
    for _, path in modules():
        where = path.relative_to(SOURCE).as_posix()
        if where.startswith("_core/") or where in may:
            continue
        strings = {n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)}
        assert not strings & set(names), where


VERBS = [
    (f"{room}.{name}", getattr(getattr(gs, room), name))
    for room in ("pp", "tl", "pl", "get")
    for name in getattr(gs, room).__all__
]


@pytest.mark.parametrize(("name", "verb"), VERBS)
def test_signatures_follow_scanpy(name: str, verb: object) -> None:
    parameters = list(inspect.signature(verb).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    assert parameters[0].name == ("labels" if name == "tl.map_labels" else "adata")  # which needs no cells
    assert len(positional) <= 3
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters if p.name in ("copy", "show", "ax", "key_added"))
    assert not any(p.default is inspect.Parameter.empty for p in parameters if p.kind is p.KEYWORD_ONLY)


@pytest.mark.parametrize(("name", "verb"), VERBS)
def test_every_parameter_is_documented(name: str, verb: object) -> None:
    documented = inspect.getdoc(verb)
    assert documented
    for parameter in inspect.signature(verb).parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            assert parameter.name in documented, parameter.name


def test_every_public_name_is_in_the_reference() -> None:
    pages = (SOURCE.parents[1] / "docs/api").glob("*.md")
    listed = {name for page in pages for name in page.read_text().split()}
    top = [name for name in gs.__all__ if callable(getattr(gs, name))]
    rooms = ("pp", "tl", "pl", "get", "data", "datasets", "train", "model", "models")
    public = [*top, *(f"{room}.{name}" for room in rooms for name in getattr(gs, room).__all__)]
    assert not [name for name in public if name not in listed and name.removeprefix("model.") not in listed]


def test_importing_changes_nothing_global() -> None:
    import subprocess
    import sys

    code = """
import logging, warnings, numpy as np, zarr, jax
import annbatch, numba, optax, pooch, scverse_misc, seaborn, sklearn.metrics, tqdm.auto  # they may do as they like
before = (np.random.get_state()[1].tobytes(), dict(zarr.config.config), list(warnings.filters),
          logging.getLogger().handlers[:], jax.config.values.copy())
import ginseng
after = (np.random.get_state()[1].tobytes(), dict(zarr.config.config), list(warnings.filters),
         logging.getLogger().handlers[:], jax.config.values.copy())
changed = [i for i, (a, b) in enumerate(zip(before, after)) if a != b]
assert not changed, changed
"""
    subprocess.run([sys.executable, "-c", code], check=True)
