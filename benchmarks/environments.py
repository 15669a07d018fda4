"""Environments of their own for peers, whose requirements exclude each other or ours."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

HERE = Path(__file__).parent


def interpreter(name: str, cache: Path) -> str:
    """Return the Python of an environment with a peer, made if it is not there."""
    folder, requirements = cache / name, HERE / f"requirements-{name}.txt"
    python, mark = folder / "bin" / "python", folder / "installed.txt"
    if not mark.exists() or mark.read_text() != requirements.read_text():
        print(f"Installing {requirements.name} into {folder}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", requirements], check=True)
        mark.write_text(requirements.read_text())
    return str(python)
