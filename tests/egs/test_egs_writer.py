"""Egs on disk: what a reader of Kaldi archives finds there, and what becomes of bad input."""

import hashlib
import resource
from pathlib import Path

import kaldiio
import numpy as np
import pytest

from egs_corpus import DIM, write_data_dir, write_small_egs
from timbre.datadir.ark import ArkWriter, read_ark, read_mat
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import write_table
from timbre.datadir.trials import read_trials
from timbre.egs.egs_format import Manifest
from timbre.egs.egs_writer import write_egs
from timbre.egs.options import EgsOptions
from timbre.runtime.normalize import NormalizeOptions, normalize
from timbre.utils.errors import DataError

SMALL = EgsOptions(min_frames=20, max_frames=40, num_valid_speakers=2, num_valid_utts=10)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    return write_data_dir(tmp_path_factory.mktemp("egs") / "data")


@pytest.fixture(scope="module")
def egs(data: DataDir) -> Path:
    write_egs(data, data.path.parent / "egs", SMALL, NormalizeOptions(), nj=1, seed=0)
    return data.path.parent / "egs"


def _normalised(data: DataDir, utt: str) -> np.ndarray:
    voiced = read_mat(data.table("vad.scp")[utt]) != 0
    return normalize(read_mat(data.table("feats.scp")[utt]), voiced, NormalizeOptions())


def _examples(egs: Path, kind: str) -> dict[str, tuple[np.ndarray, int]]:
    """Every example by key, and its label, as Kaldi would read them."""
    examples = {}
    for path in egs.glob(f"{kind}.*.ark"):
        labels = [line.split() for line in path.with_suffix(".spk").read_text().splitlines()]
        for (key, matrix), (label_key, label) in zip(kaldiio.load_ark(str(path)), labels, strict=True):
            assert key == label_key and key not in examples
            examples[key] = matrix, int(label)
    return examples


@pytest.mark.parametrize("kind", ["egs", "valid"])
def test_examples_are_the_chunks_that_their_keys_name(data: DataDir, egs: Path, kind: str) -> None:
    spk2int = {speaker: int(number) for speaker, number in (line.split() for line in (egs / "spk2int").open())}
    examples = _examples(egs, kind)
    assert len(examples) >= 10
    for key, (matrix, label) in examples.items():
        utt, start, _ = key.rsplit("-", 2)
        assert np.array_equal(matrix, _normalised(data, utt)[int(start) : int(start) + len(matrix)])
        assert label == spk2int[data.utt2spk[utt]]


@pytest.mark.parametrize(("compression", "levels"), [("CM2", 65535), ("CM3", 255)])
def test_compressed_examples_are_exact_to_half_a_level(
    data: DataDir, tmp_path: Path, compression: str, levels: int
) -> None:
    options = EgsOptions(min_frames=20, max_frames=40, num_valid_speakers=0, num_valid_utts=0, compression=compression)
    write_egs(data, tmp_path / "egs", options, NormalizeOptions(), nj=1, seed=0)
    for key, (matrix, _) in _examples(tmp_path / "egs", "egs").items():
        utt, start, _ = key.rsplit("-", 2)
        exact = _normalised(data, utt)[int(start) : int(start) + len(matrix)]
        assert np.abs(matrix - exact).max() <= 0.51 * (exact.max() - exact.min()) / levels + 1e-6


def test_the_number_of_jobs_changes_nothing(data: DataDir, egs: Path, tmp_path: Path) -> None:
    write_egs(data, tmp_path / "egs", SMALL, NormalizeOptions(), nj=2, seed=0)
    names = sorted(path.name for path in egs.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "egs").iterdir())
    for name in names:
        assert (egs / name).read_bytes() == (tmp_path / "egs" / name).read_bytes(), name


def test_what_an_earlier_run_left_is_removed(data: DataDir, egs: Path, tmp_path: Path) -> None:
    names = {path.name for path in egs.iterdir()}
    for name in (*names, "egs.9999.ark", "egs.9999.spk", ".egs.3.ark.tmp99999999"):
        (tmp_path / name).write_text("old")
    write_egs(data, tmp_path, SMALL, NormalizeOptions(), nj=1, seed=0)
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_full_disk_leaves_nothing_half_written(data: DataDir, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # as good as a full disk
    try:
        with pytest.raises(DataError, match=r"egs\.1\.ark: cannot write"):
            write_egs(data, tmp_path / "egs", SMALL, NormalizeOptions(), nj=1, seed=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in (tmp_path / "egs").iterdir()] == [".timbre"]


def test_the_manifest_counts_what_is_there(data: DataDir, egs: Path) -> None:
    manifest = Manifest.read(egs)
    examples = _examples(egs, "egs")
    assert manifest.num_examples == len(examples)
    assert manifest.num_frames == sum(len(matrix) for matrix, _ in examples.values())
    assert manifest.num_speakers == len((egs / "spk2int").read_text().splitlines()) == 18
    assert manifest.feat_dim == DIM
    assert manifest.normalize == NormalizeOptions()
    for ark in [*manifest.train, *manifest.valid]:
        content = (egs / f"{ark.name}.ark").read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (ark.num_bytes, ark.sha256)


def test_what_is_held_out_is_never_trained_on(data: DataDir, egs: Path) -> None:
    manifest = Manifest.read(egs)
    trained = {key.rsplit("-", 2)[0] for key in _examples(egs, "egs")}
    assert len(manifest.valid_utts) == 10 and not trained & set(manifest.valid_utts)
    assert {key.rsplit("-", 2)[0] for key in _examples(egs, "valid")} == set(manifest.valid_utts)
    assert len(manifest.valid_speakers) == 2
    assert not {data.utt2spk[utt] for utt in trained} & set(manifest.valid_speakers)
    held = {utt for utt in data.utts if data.utt2spk[utt] in manifest.valid_speakers}
    assert len(trained) + manifest.num_unused + len(manifest.valid_utts) + len(held) == len(data.utts)

    trials = read_trials(egs / "valid_trials")
    feats = dict(read_ark(egs / "valid_utts.ark"))
    assert {*trials.enroll_ids, *trials.test_ids} == set(feats) == held
    assert trials.target.sum() == 2 * 6 * 5 // 2 and (~trials.target).sum() == 36
    assert all(np.array_equal(feats[utt], _normalised(data, utt)) for utt in held)


def test_too_short_utterances_are_listed_and_left_out(data: DataDir, tmp_path: Path) -> None:
    frames = {utt: len(_normalised(data, utt)) for utt in data.utts}
    options = EgsOptions(min_frames=70, max_frames=80, num_valid_speakers=0, num_valid_utts=0)
    manifest = write_egs(data, tmp_path / "egs", options, NormalizeOptions(), nj=1, seed=0)
    listed = dict(line.split() for line in (tmp_path / "egs" / "too_short").open())
    assert {utt: int(number) for utt, number in listed.items()} == {u: n for u, n in frames.items() if n < 70}
    assert manifest.num_too_short == len(listed) > 0


def test_short_utterances_can_be_repeated(data: DataDir, tmp_path: Path) -> None:
    options = EgsOptions(min_frames=150, max_frames=150, short="repeat", num_valid_speakers=0, num_valid_utts=0)
    manifest = write_egs(data, tmp_path / "egs", options, NormalizeOptions(), nj=1, seed=0)
    assert manifest.num_too_short == 0
    key, (matrix, _) = next(iter(_examples(tmp_path / "egs", "egs").items()))
    utt, start, _ = key.rsplit("-", 2)
    feats = _normalised(data, utt)
    assert len(matrix) == 150 > len(feats)
    assert np.array_equal(matrix, np.roll(np.tile(feats, (9, 1)), -int(start), axis=0)[:150])


def test_without_vad_all_frames_are_used(data: DataDir, tmp_path: Path) -> None:
    everything = NormalizeOptions(cmn="none", vad=False)
    write_egs(data, tmp_path / "egs", SMALL, everything, nj=1, seed=0)
    for key, (matrix, _) in list(_examples(tmp_path / "egs", "egs").items())[:20]:
        utt, start, _ = key.rsplit("-", 2)
        assert np.array_equal(matrix, read_mat(data.table("feats.scp")[utt])[int(start) : int(start) + len(matrix)])


def _broken(path: Path, feats: np.ndarray | None = None, vad: np.ndarray | None = None) -> DataDir:
    """A data directory in which one utterance has other features or another VAD decision."""
    data = write_data_dir(path)
    for name, array in (("feats", feats), ("vad", vad)):
        if array is not None:
            with ArkWriter(path / f"bad_{name}.ark") as writer:
                writer.write("spk03-utt2", array)
            write_table(path / f"{name}.scp", data.table(f"{name}.scp") | writer.scp)
    return data


def test_bad_input_leaves_no_manifest_and_names_the_utterance(tmp_path: Path) -> None:
    cases = {
        "nan": _broken(tmp_path / "nan", feats=np.full((80, DIM), np.nan, np.float32)),
        "dimension": _broken(tmp_path / "dim", np.ones((80, DIM + 1), np.float32), np.ones(80, np.float32)),
        "length": _broken(tmp_path / "length", vad=np.ones(33, np.float32)),
    }
    write_small_egs(tmp_path / "egs")
    for name, data in cases.items():
        with pytest.raises(DataError, match="spk03-utt2"):
            write_egs(data, tmp_path / "egs", SMALL, NormalizeOptions(), nj=1, seed=0)
        with pytest.raises(DataError, match="did not finish"):
            Manifest.read(tmp_path / "egs")
        assert not list((tmp_path / "egs").glob(".*tmp*")), name


def test_bad_data_dirs_are_refused(tmp_path: Path) -> None:
    data = write_data_dir(tmp_path / "data")
    scp = data.table("vad.scp")
    write_table(data.path / "vad.scp", {utt: rx for utt, rx in scp.items() if utt != "spk03-utt2"})
    with pytest.raises(DataError, match=r"utterance spk03-utt2 is not in vad\.scp"):
        write_egs(data, tmp_path / "egs", SMALL, NormalizeOptions(), nj=1, seed=0)
    (data.path / "vad.scp").unlink()
    with pytest.raises(DataError, match=r"vad\.scp"):
        write_egs(data, tmp_path / "egs", SMALL, NormalizeOptions(), nj=1, seed=0)
    with pytest.raises(DataError, match="none of 120 utterances has 500 voiced frames"):
        write_egs(data, tmp_path / "egs", EgsOptions(min_frames=500, max_frames=500), NormalizeOptions(vad=False), 1, 0)
    one = DataDir(data.path, {}, dict.fromkeys(data.utts, "all"))
    with pytest.raises(DataError, match="1 speaker is left"):
        write_egs(one, tmp_path / "egs", SMALL, NormalizeOptions(vad=False), nj=1, seed=0)


def test_a_features_ark_that_is_cut_short_is_named(tmp_path: Path) -> None:
    data = write_data_dir(tmp_path / "data")
    ark = data.path / "feats.ark"
    ark.write_bytes(ark.read_bytes()[:20_000])
    with pytest.raises(DataError, match=r"feats\.ark"):
        write_egs(data, tmp_path / "egs", SMALL, NormalizeOptions(), nj=1, seed=0)


def test_a_manifest_of_another_version_or_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    for text in ("{", "[]", '{"version": 99}', '{"version": 1, "train": [{}], "valid": []}'):
        path.write_text(text)
        with pytest.raises(DataError, match=r"manifest\.json"):
            Manifest.read(tmp_path)
