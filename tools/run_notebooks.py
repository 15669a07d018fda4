"""Run notebooks and keep their outputs: `python tools/run_notebooks.py [--files FOLDER] NOTEBOOK ...`.

Each runs in an empty folder, or in one with copies of the files in FOLDER. Figures are kept at twice their size on the
page, so that they are crisp on any screen, with a palette, which takes a third of the space. Needs `ginseng[docs]`.
"""

from __future__ import annotations

import argparse
import base64
import copy
import io
import re
import shutil
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

DPI = 200  # of figures that are laid out for 100
#: Where a warning was raised, which differs between runs, and the line of code, which stands above.
PLACE = re.compile(r"^\S*ipykernel\S*:\d+: (\w+: .*\n)  .*\n", re.MULTILINE)
TWICE = "--InlineBackend.figure_formats={'retina'}"


def smaller(png: str) -> str:
    """Return a picture with at most 128 colours."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    buffer = io.BytesIO()
    image.quantize(128, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        buffer, "png", optimize=True, dpi=(DPI, DPI)
    )
    return base64.b64encode(buffer.getvalue()).decode()


def run(path: Path, files: Path | None) -> None:
    """Run a notebook in a folder of its own."""
    notebook = nbformat.read(path, 4)
    metadata = copy.deepcopy(notebook.metadata)
    with tempfile.TemporaryDirectory() as home:
        if files is not None:
            shutil.copytree(files, home, dirs_exist_ok=True)
        NotebookClient(
            notebook, timeout=None, record_timing=False, extra_arguments=[TWICE], resources={"metadata": {"path": home}}
        ).execute()
    notebook.metadata = metadata
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if output.get("name") == "stderr":
            output.text = PLACE.sub(r"\1", output.text)
        if "image/png" in output.get("data", {}):
            output.data["image/png"] = smaller(output.data["image/png"])
    nbformat.write(notebook, path)


def main() -> None:
    """Run the notebooks that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--files", type=Path, help="folder with the files that a notebook reads")
    args = parser.parse_args()
    for path in args.notebooks:
        run(path, args.files)
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
