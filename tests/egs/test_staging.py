"""Egs are copied to the node's own disk once, whole, and anew when they have changed."""

from pathlib import Path

from timbre.egs.staging import stage_egs


def make_egs(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "egs.1.ark").write_text(text)
    (folder / "manifest.json").write_text(f'{{"what": "{text}"}}')
    return folder


def test_a_copy_is_made_once_and_anew_of_other_egs(tmp_path: Path) -> None:
    egs, local = make_egs(tmp_path / "egs", "first"), tmp_path / "local" / "disk"
    copy = stage_egs(egs, local)
    assert copy.parent == local and (copy / "egs.1.ark").read_text() == "first"
    before = (copy / "egs.1.ark").stat().st_mtime_ns
    assert stage_egs(egs, local) == copy and (copy / "egs.1.ark").stat().st_mtime_ns == before
    other = stage_egs(make_egs(egs, "second"), local)
    assert other != copy and (other / "egs.1.ark").read_text() == "second"


def test_half_a_copy_is_made_again(tmp_path: Path) -> None:
    egs = make_egs(tmp_path / "egs", "whole")
    copy = stage_egs(egs, tmp_path / "local")
    (copy / "manifest.json").unlink()
    (copy / "egs.1.ark").write_text("ha")
    assert (stage_egs(egs, tmp_path / "local") / "egs.1.ark").read_text() == "whole"
