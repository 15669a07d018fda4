"""What the pages promise without being run: figures, links, and what a release makes of them."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

import ginseng as gs

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
#: Target of a link or an image, in Markdown or HTML.
TARGET = re.compile(r'\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"')
PAGES = [
    ROOT / "README.md",
    *(page for folder in ("docs", "docs/guide", "docs/api") for page in sorted((ROOT / folder).glob("*.md"))),
]


def load(path: str) -> ModuleType:
    name = Path(path).stem
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_plot_is_in_the_gallery() -> None:
    assert set(gs.pl.__all__) <= set(load("docs/figures.py").examples())


def test_figures_are_small_and_there() -> None:
    figures = load("docs/figures.py")
    paths = {name: ROOT / f"docs/_static/gallery/{name}.png" for name in figures.examples()}
    assert set((ROOT / "docs/_static/gallery").iterdir()) == set(paths.values())
    for path in paths.values():
        assert 5_000 < path.stat().st_size < 60_000
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in (link or source for link, source in TARGET.findall(page.read_text())):
        path, _, _ = unquote(target).partition("#")
        if path.endswith((".md", ".ipynb", ".png", ".svg")) and not path.startswith(("http", "../../actions")):
            assert (page.parent / path).exists(), target


def test_a_release_has_absolute_links_only() -> None:
    module = load("tools/absolute_links.py")
    text = module.absolute(README, "https://example.org/a/ginseng", "v1.2.3")
    targets = [link or source for link, source in TARGET.findall(text)]
    assert len(targets) == len(TARGET.findall(README))
    assert all(re.match("https?://", target) for target in targets)
    assert "https://example.org/a/ginseng/raw/v1.2.3/docs/_static/gallery/embedding.png" in targets
    assert "https://example.org/a/ginseng/blob/v1.2.3/docs/index.md" in targets
    assert "https://example.org/a/ginseng/actions/workflows/test.yml" in targets
    assert "[scanpy]: https://scanpy.readthedocs.io" in text


def test_a_release_has_addresses() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    edited = tomllib.loads(load("tools/absolute_links.py").with_urls(text, "https://example.org/a/ginseng"))
    assert edited["project"]["urls"]["Source"] == "https://example.org/a/ginseng"
    before = tomllib.loads(text)
    assert {key: value for key, value in edited["project"].items() if key != "urls"} == before["project"]
    assert edited["tool"] == before["tool"]
