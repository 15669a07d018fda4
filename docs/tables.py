"""Write the tables of `formats.md` that follow from the schemas of the files: `python docs/tables.py`."""

from pathlib import Path

from ginseng.model.schema import FIRST, MODEL
from ginseng.train.checkpoint import CHECKPOINT

PAGE = Path(__file__).with_name("formats.md")
SCHEMAS = {"model": MODEL, "first model": FIRST, "checkpoint": CHECKPOINT}


def renewed(text: str) -> str:
    """Return the page with its tables as the schemas have them."""
    for name, schema in SCHEMAS.items():
        start, end = f"<!-- table of the {name} file, by docs/tables.py -->\n", "<!-- end of the table -->"
        before, found, rest = text.partition(start)
        if not found:
            msg = f"{PAGE.name} has no place for the table of the {name} file."
            raise ValueError(msg)
        text = f"{before}{start}\n{schema.table()}\n\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
