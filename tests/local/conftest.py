"""Small corpora in the layout of published ones, for the tests of their fronts."""

from pathlib import Path

import pytest

from miniatures import MINIATURES, Miniature


@pytest.fixture
def miniature(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Miniature:
    """A small corpus in tmp_path/corpus, the one that `only` names."""
    made = MINIATURES[request.param]
    for name, value in made.published.items():
        monkeypatch.setattr(made.front, name, value)
    made.build(tmp_path / "corpus")
    return made
