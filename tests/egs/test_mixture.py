"""What a model is trained further on: copies by altered speakers left out, a share of old speech mixed in."""

from pathlib import Path

import pytest

from egs_corpus import write_data_dir
from step_calls import refused, works
from timbre.datadir.contents import Contents
from timbre.datadir.tables import read_table, write_table
from timbre.egs.egs_format import Manifest
from timbre.egs.mixture import draw_evenly

STEP, EGS = "steps/mix_data_dir.py", "steps/get_egs.py"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Twenty speakers of one domain, an utterance lasting 2 s."""
    return _with_lengths(tmp_path / "own", "")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Twenty of another, with names of their own; the model knows spk02 to spk19 of them."""
    path = _with_lengths(tmp_path / "old", "old-")
    (tmp_path / "model").mkdir()
    write_table(tmp_path / "model" / "spk2int", {f"old-spk{number:02d}": str(number - 2) for number in range(2, 20)})
    return path


def _with_lengths(path: Path, prefix: str) -> Path:
    write_data_dir(path)
    contents = Contents.read(path).rename(lambda utt: prefix + utt, lambda spk: prefix + spk)
    contents.tables["utt2dur"] = dict.fromkeys(contents.utt2spk, "2")
    target = path.with_name(path.name + "_named")
    contents.write(target)
    return target


def test_the_share_is_drawn_evenly_of_speakers_that_the_model_knows(own: Path, old: Path, tmp_path: Path) -> None:
    for share, per_speaker in ((0.25, {2, 3}), (0.45, {5, 6})):
        out = tmp_path / f"out{share}"
        works(tmp_path, STEP, own, out, "--mix-dir", old, "--share", share, "--model-dir", tmp_path / "model")
        utt2spk = read_table(out / "utt2spk")
        drawn = [spk for spk in utt2spk.values() if spk.startswith("old-")]
        assert len(drawn) / len(utt2spk) == pytest.approx(share, abs=0.01)
        assert {drawn.count(spk) for spk in set(drawn)} <= per_speaker and len(set(drawn)) == 18
        assert not {"old-spk00", "old-spk01"} & set(drawn)
        assert read_table(out / "feats.scp").keys() == utt2spk.keys()


def test_as_much_as_there_is(own: Path, old: Path, tmp_path: Path) -> None:
    done = works(
        tmp_path, STEP, own, tmp_path / "out", "--mix-dir", old, "--share", 0.9, "--model-dir", tmp_path / "model"
    )
    assert "(108 utterances of 18 speakers)" in done.stderr and "47 % is old" in done.stderr


def test_a_draw_is_of_one_utterance_of_each_speaker_after_the_other() -> None:
    utt2spk = {f"{spk}{number}": spk for spk, count in (("a", 1), ("b", 2), ("c", 9)) for number in range(count)}
    chosen, total = draw_evenly(utt2spk, dict.fromkeys(utt2spk, 1.5), 9.0, seed=0)
    assert total == 9 and sorted(utt[0] for utt in chosen) == ["a", "b", "b", "c", "c", "c"]
    assert draw_evenly(utt2spk, dict.fromkeys(utt2spk, 1.5), 9.0, seed=0)[0] == chosen


def test_copies_by_altered_speakers_are_left_out(own: Path, tmp_path: Path) -> None:
    contents = Contents.read(own)
    spoken = contents.utt2spk
    contents.tables["utt2spk"] = spoken | {utt: f"sp0.9-{spk}" for utt, spk in spoken.items() if "-utt0" in utt}
    first = {utt: utt.replace("-utt0", "-utt2") for utt in spoken}
    contents.tables["utt2uniq"] = {utt: first[utt].replace("-utt4", "-utt2") for utt in spoken}
    contents.write(tmp_path / "speeds")
    works(tmp_path, STEP, tmp_path / "speeds", tmp_path / "out", "--altered-speakers", "false")
    left = read_table(tmp_path / "out" / "utt2spk")
    assert left == {utt: spk for utt, spk in spoken.items() if "-utt0" not in utt}  # a copy by its own speaker stays


def test_held_out_are_speakers_that_the_model_does_not_know(own: Path, old: Path, tmp_path: Path) -> None:
    """As many as would be of the own twenty alone: the others are trained on, however many are mixed in."""
    mixed = tmp_path / "mixed"
    works(tmp_path, STEP, own, mixed, "--mix-dir", old, "--share", 0.4, "--model-dir", tmp_path / "model")
    egs = ("--nj", 1, "--egs.min_frames", 20, "--egs.max_frames", 40, "--egs.num_valid_utts", 0)
    model = ("--unknown-to", tmp_path / "model")
    works(tmp_path, EGS, mixed, tmp_path / "egs", *egs, *model, "--held-from", own)
    held = Manifest.read(tmp_path / "egs").valid_speakers
    assert len(held) == 2 and not [spk for spk in held if spk.startswith("old-")]
    works(tmp_path, EGS, old, tmp_path / "old_egs", *egs, *model)
    assert Manifest.read(tmp_path / "old_egs").valid_speakers == ["old-spk00", "old-spk01"]


def test_what_cannot_be_mixed(own: Path, old: Path, tmp_path: Path) -> None:
    options = ("--mix-dir", old, "--model-dir", tmp_path / "model")
    out = tmp_path / "out"
    assert "goes with --model-dir" in refused(tmp_path, STEP, own, out, "--mix-dir", old)[0]
    assert "a --share between 0 and 1" in refused(tmp_path, STEP, own, out, *options, "--share", 1)[0]
    (old / "utt2dur").unlink()
    assert "utt2dur: cannot read: No such file" in refused(tmp_path, STEP, own, out, *options)[0]
    write_table(tmp_path / "model" / "spk2int", {"nobody": "0", "noone": "1"})
    assert "knows none of its speakers" in refused(tmp_path, STEP, own, out, *options)[0]
    assert not out.exists()
