"""What completion offers, and how objects show themselves."""

from __future__ import annotations

import html.parser
from pathlib import Path
from typing import Any

import pytest

import ginseng as gs
from ginseng._repr import Card, Table
from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings


@pytest.mark.parametrize(
    "module", [gs, gs.pp, gs.tl, gs.get, gs.data, gs.datasets, gs.model, gs.models, gs.train, gs.utils]
)
def test_completion_offers_what_is_public(module: Any) -> None:
    assert {name for name in dir(module) if not name.startswith("__")} == set(module.__all__)
    for name in module.__all__:
        assert hasattr(module, name)


def test_completion_of_settings() -> None:
    fields = set(type(gs.settings).model_fields)
    assert set(dir(gs.settings)) == fields | {"override", "reset"}
    for shown in (repr(gs.settings), str(gs.settings), gs.settings._repr_html_()):
        assert all(name in shown for name in fields)
        assert "one line per call" in shown


class Tags(html.parser.HTMLParser):
    """Counts what is open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


HOSTILE = '<img src=x onerror="alert(1)">&\'`'


def test_a_card_escapes_everything() -> None:
    card = Card(HOSTILE, {HOSTILE: HOSTILE, "n": 12345, "share": 0.25}, [Table(HOSTILE, [HOSTILE], [[HOSTILE]])])
    tags = Tags()
    tags.feed(card.html())
    assert not tags.open
    assert "img" not in tags.seen
    assert "12,345" in card.text()
    assert "0.250" in card.html()
    assert card.text().count(HOSTILE) == 6


def test_objects_say_what_they_are(tmp_path: Path) -> None:
    adata = gs.datasets.pbmc68k()
    settings = GinsengClassifierTrainerSettings(epochs=2, lr=0.01)
    assert "lr" in repr(settings).splitlines()[1] or "lr" in repr(settings).splitlines()[2]
    data = gs.data.GinsengDataset.create(tmp_path / "a.zarr", adata, label_key="cell_type")
    trainer = GinsengClassifierTrainer(data, settings)
    n_held = int(trainer.holdout.sum())
    assert f"{700 - n_held} to train on, {n_held} held out" in repr(trainer)
    model, state = trainer.fit(silent=True)
    assert "in 2 epochs" in repr(trainer)
    assert "765 genes" in repr(model)
    for thing in (settings, data, trainer, model, state, gs.pp.check(adata)):
        tags = Tags()
        shown = thing._repr_html_()  # type: ignore[attr-defined]
        tags.feed(shown)
        assert not tags.open
        assert "CD19+ B" in shown or thing in (settings, model) or not hasattr(thing, "n_genes") or "X" in shown
    assert f"{state.info['n_train']:,} cells" in repr(state)
    assert f"{state.history['holdout_accuracy'][state.info['best_epoch'] - 1]:.3f}" in repr(state)
