"""Make the relative links of the README absolute, and add `[project.urls]`: `python tools/absolute_links.py URL TAG`.

The repository has relative links, which hold in every clone, fork and branch. The registry needs absolute ones, so the
release workflow calls this before it builds, with the address of the repository that it runs in. Nothing is committed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_TARGET = re.compile(r'(?P<before>\]\(|src="|href="|^\[[^\]]+\]: )(?P<path>(?!\w+:|#)[^)"\s]+)', re.MULTILINE)


def absolute(readme: str, repository: str, tag: str) -> str:
    """Return the README with links to files of `repository` at `tag`, and images that a browser can load from there."""

    def replace(found: re.Match[str]) -> str:
        path = found["path"]
        if path.startswith("../../"):  # a page of the forge rather than a file
            return f"{found['before']}{repository}/{path.removeprefix('../../')}"
        is_image = path.endswith((".png", ".svg"))
        return f"{found['before']}{repository}/{'raw' if is_image else 'blob'}/{tag}/{path}"

    return _TARGET.sub(replace, readme)


def with_urls(pyproject: str, repository: str) -> str:
    """Return `pyproject.toml` with the addresses of the project."""
    urls = {
        "Source": repository,
        "Documentation": f"{repository}/tree/main/docs",
        "Changelog": f"{repository}/blob/main/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }
    table = "\n".join(["[project.urls]", *(f'{name} = "{url}"' for name, url in urls.items())])
    return pyproject.replace("[project.scripts]", f"{table}\n\n[project.scripts]", 1)


def main(repository: str, tag: str) -> None:
    """Edit both files in place."""
    for name, edited in {
        "README.md": lambda text: absolute(text, repository, tag),
        "pyproject.toml": lambda text: with_urls(text, repository),
    }.items():
        path = ROOT / name
        path.write_text(edited(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
