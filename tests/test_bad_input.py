"""Bad input to the steps as a user calls them: a failing exit, one clear line, nothing half-written, nothing executed.

Input that is only strange (Unicode, shell characters, ids of 10 kB, an hour of audio) has to work.
"""

import os
import pickle
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from egs_corpus import write_configs, write_small_egs
from step_calls import ROOT, refused, works, write_files, write_wav
from timbre.datadir.ark import ArkWriter, write_vectors
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import write_table

FBANK = ("--fbank.sample_frequency", 8000, "--nj", 1)
PLDA = ("--backend", ROOT / "conf/backend/plda_without_lda.yaml")
TRAIN = ("--train.num_steps", 2, "--train.batch_size", 16, "--train.device", "cpu", "--train.tensorboard", "false")
TABLES = {"wav.scp": b"a1 a.wav\na2 a.wav\nb1 b.wav\n", "utt2spk": b"a1 a\na2 a\nb1 b\n", "spk2utt": b"a a1 a2\nb b1\n"}
# before a command: a disk for exp/ that is full, or that cannot be written to; what is left on it is printed at the end
FULL_DISK = """mount -t tmpfs -o size=64k tmpfs exp; head -c 1M /dev/zero > exp/filler 2> /dev/null
"$@"; status=$?; find exp -type f ! -name filler ! -name .lock >&2; exit $status"""
READ_ONLY = 'mount -t tmpfs -o ro tmpfs exp; exec "$@"'


@pytest.fixture
def feats(tmp_path: Path) -> Path:
    """data/ with features and VAD: speakers a, b and c, four utterances of each."""
    path, random = tmp_path / "data", np.random.default_rng(0)
    utt2spk = {f"{spk}{number}": spk for spk in "abc" for number in range(4)}
    with ArkWriter(path / "feats.ark") as ark, ArkWriter(path / "vad.ark") as vad:
        for utt in utt2spk:
            ark.write(utt, random.normal(10, 1, (60, 5)))
            vad.write(utt, np.ones(60))
    for name, table in {"utt2spk": utt2spk, "feats.scp": ark.scp, "vad.scp": vad.scp}.items():
        write_table(path / name, table)
    return path


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """vectors/ with embeddings x of the same utterances, their utt2spk, all trials and scores of them."""
    path, random = tmp_path / "vectors", np.random.default_rng(0)
    ids = [f"{spk}{number}" for spk in "abc" for number in range(4)]
    write_vectors(path / "x", ids, random.normal(size=(12, 5)))
    write_table(path / "utt2spk", {utt: utt[0] for utt in ids})
    pairs = [(one, two) for one in ids for two in ids if one < two]
    labels = {True: "target", False: "nontarget"}
    (path / "trials").write_text("".join(f"{one} {two} {labels[one[0] == two[0]]}\n" for one, two in pairs))
    (path / "scores").write_text("".join(f"{one} {two} {random.normal():.4f}\n" for one, two in pairs))
    return path


@pytest.fixture
def mounted(tmp_path: Path) -> str:
    """The option with which unshare lets us mount in a namespace of our own: as root, or as a user where users may."""
    for option in ("-m", "-rm"):
        command = ["unshare", option, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
        if shutil.which("unshare") and subprocess.run(command, capture_output=True).returncode == 0:
            return option
    pytest.skip("nothing may be mounted here")


def test_verify_without_a_pack_says_how_to_get_one(tmp_path: Path) -> None:
    for words in (["a.wav", "b.wav"], ["--pack", "exp/x", "a.wav", "b.wav"]):
        error, _ = refused(tmp_path, "steps/verify.py", *words)
        assert error.startswith("exp/") and "./run.sh --calibrate" in error and "name it with --pack" in error


def test_audio_that_cannot_be_used_is_listed(tmp_path: Path) -> None:
    said = write_bad_audio(tmp_path)
    write_wav(tmp_path / "good.wav")
    wavs = {name: name for name in ["good.wav", *said]}
    DataDir(tmp_path, wavs, wavs).write(tmp_path / "data")

    error, listed = refused(tmp_path, "steps/make_fbank.py", "data", *FBANK)
    assert f"feats.missing: {len(said)} of {len(wavs)} utterances have no features" in error and "'cut.flac'" in error
    allowed = works(tmp_path, "steps/make_fbank.py", "data", *FBANK, "--allow-missing", len(said)).stderr.splitlines()
    assert allowed.pop().endswith(f"{len(said)} of {len(wavs)} utterances have no features and are left out")
    assert (tmp_path / "data" / "feats.scp").read_text().startswith("good.wav data/arks/")
    assert [line.split()[0] for line in (tmp_path / "data" / "feats.missing").open()] == sorted(said)
    for lines in (listed, allowed):
        for line, (name, problem) in zip(lines, said.items(), strict=True):
            assert re.search(f"{name}: .*{problem}", line)

    error, listed = refused(tmp_path, "steps/preprocess_audio.py", "data", "new", "--nj", 1)
    assert error.startswith(
        f"new/audio.missing: {len(said) - 2} of {len(wavs)} recordings have no audio"
    )  # any rate and length will do


def write_bad_audio(folder: Path) -> dict[str, str]:
    """Every kind of audio that cannot be used: name of the file -> what must be said of it."""
    write_wav(folder / "cut.flac")
    (folder / "cut.flac").write_bytes((folder / "cut.flac").read_bytes()[:3000])
    write_wav(folder / "cut.wav")
    (folder / "cut.wav").write_bytes((folder / "cut.wav").read_bytes()[: 44 + 4000])
    write_wav(folder / "empty.wav", seconds=0)
    (folder / "folder.wav").mkdir()
    write_wav(folder / "lying.flac")
    flac = bytearray((folder / "lying.flac").read_bytes())
    flac[21] |= 0x0F
    flac[22:26] = b"\xff\xff\xff\xff"  # announces 2 ** 36 samples
    (folder / "lying.flac").write_bytes(flac)
    (folder / "link.wav").symlink_to("nowhere")
    soundfile.write(folder / "nan.wav", np.full(4000, np.nan), 8000, subtype="FLOAT")
    write_wav(folder / "rate.wav", rate=16000)
    write_wav(folder / "short.wav", seconds=50 / 8000)
    write_wav(folder / "stereo.wav", channels=2)
    (folder / "text.wav").write_text("to be recorded\n")
    (folder / "zero_bytes.wav").touch()
    return {
        "cut.flac": "not audio that libsndfile reads, or damaged: .*lost sync",
        "cut.wav": "cut short: the header announces 8000 bytes, 4000 are there",
        "empty.wav": "no samples in it",
        "folder.wav": "a folder, not an audio file",
        "link.wav": "no such file",
        "lying.flac": "cut short|damaged",
        "missing.wav": "no such file",
        "nan.wav": "NaN or infinite samples",
        "rate.wav": "sample rate is 16000 Hz, 8000 Hz is wanted",
        "short.wav": "50 samples are less than one frame",
        "stereo.wav": "2 channels, mono is wanted",
        "text.wav": "not audio that libsndfile reads, or damaged",
        "zero_bytes.wav": "the file is empty",
    }


@pytest.mark.parametrize(
    "name, content, problem",
    [
        ("wav.scp", b"a1 a.wav\na1 a.wav\na2 a.wav\nb1 b.wav\n", "2: 'a1' is already on line 1"),
        ("wav.scp", b"a1 a.wav\na2\nb1 b.wav\n", "2: 'a2' has no value"),
        ("wav.scp", b"", " the file is empty"),
        ("utt2spk", b"b1 b\na1 a\na2 a\n", "2: not sorted (LC_ALL=C): 'a1' comes after 'b1'"),
        ("utt2spk", b"a1 a\na 2 a\nb1 b\n", "2: 'utterance speaker' is wanted, not 'a 2 a': has an id a space?"),
        ("utt2spk", b"a1 a\r\na2 a\r\nb1 b\r\n", "1: Windows line end (CRLF); convert with dos2unix"),
        ("utt2spk", b"\xef\xbb\xbfa1 a\na2 a\nb1 b\n", "1: begins with a byte order mark (BOM); save it without"),
        ("utt2spk", b"a1 a\na2 a\nb1 \xf1\n", "3: not UTF-8"),
        ("utt2spk", b"a1 a\na2 a\na3 a\nb1 b\n", "3: utterance 'a3' is not in wav.scp"),
        ("segments", b"a1 a1 0 1\na2 a2 1 0\nb1 b1 0 1\n", "2: segment 'a2': it ends at 0, not after its start 1"),
    ],
)
def test_bad_tables_are_told_by_line(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    write_files(tmp_path / "data", TABLES | {name: content})
    assert refused(tmp_path, "steps/make_fbank.py", "data") == (f"data/{name}:{problem}", [])


def test_validation_lists_every_problem(tmp_path: Path) -> None:
    wavs, utt2spk = b"a2 a.wav\na1 absent.wav\na1 a.wav\nb1 b.wav\r\n", b"a1 a\na2 a\na3 a\nb1 \xf1\nb2 b\n"
    write_files(tmp_path / "data", TABLES | {"wav.scp": wavs, "utt2spk": utt2spk, "trials": b"a1 zz target\n"})
    error, listed = refused(tmp_path, "steps/validate_data_dir.py", "data")
    problems = [line for line in listed if not line.startswith("warning: ")]
    assert error == f"data: {len(problems)} problems; see above"
    for place in (
        "wav.scp:2: not sorted",
        "wav.scp:2: 'a1': cannot read absent.wav",
        "wav.scp:3: 'a1' is already on line 2",
        "wav.scp:4: Windows line ends",
        "utt2spk:3: utterance 'a3' is not in wav.scp",
        "utt2spk:4: not UTF-8",
        "trials:1: test id 'zz'",
    ):
        assert any(line.startswith(f"data/{place}") for line in problems), place


def test_strange_ids_and_paths_are_only_names(tmp_path: Path) -> None:
    folder = tmp_path / "$(touch owned) `touch owned`"
    commands = [name.replace(" ", "${IFS}") for name in ("$(touch owned)", "`touch owned`", "a;touch owned")]
    speakers = ["ñandú", "한국어", "it's\"", "%s{0}", "*", *commands]
    utt2spk = {f"{spk}-한국어-{number:02d}": spk for spk in speakers for number in (1, 2)} | {10_000 * "x": "x"}
    wav = Path("|touch owned;") / "`touch owned`.wav"
    write_wav(folder / wav)
    DataDir(folder, dict.fromkeys(utt2spk, str(wav)), utt2spk).write(folder / "d;touch owned")
    data, trials, stem, scores = "d;touch owned", "d;touch owned/trials", "&& touch owned/x", "'s\".|touch owned|"
    works(folder, "steps/make_fbank.py", data, *FBANK)
    works(folder, "steps/compute_vad.py", data)
    works(folder, "steps/compute_cmvn.py", data)
    works(folder, "steps/extract_statistics.py", data, stem, "--nj", 1)
    works(folder, "steps/make_trials.py", data)
    works(folder, "steps/score_trials.py", trials, f"{stem}.scp", f"{stem}.ark", scores)
    metrics = works(folder, "steps/compute_metrics.py", trials, scores).stdout
    assert "8 target and 128 nontarget trials of 9 speakers" in metrics
    assert "is valid: 17 utterances of 9 speakers" in works(folder, "steps/validate_data_dir.py", data).stdout
    pairs = {tuple(line.split()[:2]) for line in (folder / scores).read_text().splitlines()}
    assert pairs == {(one, two) for one in utt2spk for two in utt2spk if one < two}
    assert not list(tmp_path.rglob("owned*"))


def test_strange_folders_are_only_names(tmp_path: Path) -> None:
    for speaker in ("ñandú", "$(touch owned)", "a;touch owned", "-rf"):
        for name in ("한국어-01", "`touch owned`"):
            write_wav(tmp_path / "in" / speaker / f"{name}.wav")
    works(tmp_path, "local/prepare_folder.py", "in", "out", "--eval-speakers", 2)
    found = {**DataDir.read(tmp_path / "out" / "train").utt2spk, **DataDir.read(tmp_path / "out" / "eval").utt2spk}
    assert found["ñandú-한국어-01"] == "ñandú" and found["a;touch%20owned-`touch%20owned`"] == "a;touch%20owned"
    assert len(found) == 8 and not list(tmp_path.rglob("owned*"))


@pytest.mark.parametrize(
    "trials, message",
    [
        (b"", "trials: no trials in it"),
        (b"a0 a1 target\na0 zz nontarget\n", "vectors/x.scp: no vector for 'zz' (1 of 2 ids of the trials)"),
        (b"a0 a1 target\r\n", "trials:1: Windows line end (CRLF); convert with dos2unix"),
    ],
)
def test_bad_trials_are_not_scored(tmp_path: Path, vectors: Path, trials: bytes, message: str) -> None:
    (tmp_path / "trials").write_bytes(trials)
    found = refused(tmp_path, "steps/score_trials.py", "trials", "vectors/x.scp", "vectors/x.scp", "out")
    assert found == (message, [])


def test_trials_without_scores_are_not_measured(tmp_path: Path, vectors: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "trials").write_text("a0 a1 target\na0 zz nontarget\n")
    error, _ = refused(tmp_path, "steps/compute_metrics.py", "empty", "vectors/scores")
    assert error == "empty: no trials in it"
    error, _ = refused(tmp_path, "steps/compute_metrics.py", "trials", "vectors/scores", "--json", "out")
    assert error == "vectors/scores: no score for 1 of 2 trials, the first being 'a0 zz'"


def test_one_speaker_is_too_few(tmp_path: Path, feats: Path, vectors: Path) -> None:
    for path in (feats, vectors):
        write_table(path / "utt2spk", {f"{spk}{number}": "a" for spk in "abc" for number in range(4)})
    (tmp_path / "trials").write_text("a0 a1 target\na0 a2 target\n")
    error, _ = refused(tmp_path, "steps/get_egs.py", "data", "egs", "--egs.min_frames", 30, "--nj", 1)
    assert error == "data: 1 speaker is left to train on; a network needs 2 or more"
    error, _ = refused(tmp_path, "steps/train_backend.py", "vectors/x.scp", "vectors/utt2spk", "plda", *PLDA)
    assert error == "vectors/utt2spk: training needs at least two speakers, there is only 'a'"
    error, _ = refused(tmp_path, "steps/compute_metrics.py", "trials", "vectors/scores")
    assert error == "trials: none of the 2 trials is a nontarget: error rates need both kinds"


def test_features_cut_in_the_middle(tmp_path: Path, feats: Path) -> None:
    ark = feats / "feats.ark"
    ark.write_bytes(ark.read_bytes()[: 10 * ark.stat().st_size // 12 - 7])  # in the last but two
    cut, gone = f"{ark}: entry 'c1' is cut short", "is cut short"
    error, listed = refused(tmp_path, "steps/compute_vad.py", "data", "--nj", 1)
    assert error.startswith("data/vad.missing: 3 of 12 utterances have no VAD decision") and f"'c1': {cut}" in error
    assert len(listed) == 3 and (tmp_path / "data" / "vad.missing").read_text().startswith(f"c1 {cut}\nc2 ")
    assert refused(tmp_path, "steps/compute_cmvn.py", "data") == (cut, [])
    error, _ = refused(tmp_path, "steps/get_egs.py", "data", "egs", "--egs.min_frames", 30, "--nj", 1)
    assert error.startswith(str(ark)) and error.endswith(gone)
    error, listed = refused(tmp_path, "steps/extract_statistics.py", "data", "x", "--nj", 1)
    assert error.startswith("x.missing: 3 of 12 utterances have no statistics") and "'c1': " in error
    assert [line.split()[0] for line in (tmp_path / "x.missing").read_text().splitlines()] == ["c1", "c2", "c3"]
    allowed = works(tmp_path, "steps/extract_statistics.py", "data", "x", "--nj", 1, "--allow-missing", 3)
    assert allowed.stderr.endswith("3 of 12 utterances have no statistics and are left out\n")
    assert (tmp_path / "x.scp").read_text().count("\n") == 9


def test_embeddings_cut_in_the_middle(tmp_path: Path, vectors: Path) -> None:
    ark = vectors / "x.ark"
    ark.write_bytes(ark.read_bytes()[: ark.stat().st_size // 2 - 7])
    cut = "vectors/x.ark: entry 'b1' is cut short"
    for file in ("vectors/x.ark", "vectors/x.scp"):
        error, _ = refused(tmp_path, "steps/score_trials.py", "vectors/trials", file, file, "out")
        assert error.endswith(cut)
    error, _ = refused(tmp_path, "steps/train_backend.py", "vectors/x.scp", "vectors/utt2spk", "plda", *PLDA)
    assert error.endswith(cut)


DISKS = {
    "steps/extract_statistics.py": ["data", "exp/x", "--nj", 1],
    "steps/score_trials.py": ["vectors/trials", "vectors/x.scp", "vectors/x.scp", "exp/scores"],
    "steps/train_backend.py": ["vectors/x.scp", "vectors/utt2spk", "exp/plda", *PLDA],
}


@pytest.mark.parametrize("script", DISKS)
@pytest.mark.parametrize(
    "disk, reason",
    [(FULL_DISK, "No space left on device"), (READ_ONLY, "Read-only file system")],
    ids=["full", "read-only"],
)
def test_disk_that_takes_nothing(
    tmp_path: Path, mounted: str, feats: Path, vectors: Path, script: str, disk: str, reason: str
) -> None:
    (tmp_path / "exp").mkdir()
    under = ["unshare", mounted, "sh", "-c", disk, "sh"]
    error, _ = refused(tmp_path, script, *DISKS[script], under=under)
    assert error.startswith("exp/") and error.endswith(f": {reason}")


def test_recipe_on_a_read_only_disk(tmp_path: Path, mounted: str) -> None:
    for name in ("run.sh", "path.sh", "pyproject.toml", ".venv", "steps", "local", "conf"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "exp").mkdir()
    command = ["unshare", mounted, "sh", "-c", READ_ONLY, "sh", "./run.sh"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "run.sh: error: cannot make exp/synth_ecapa128/log" in done.stderr


def test_features_on_a_full_disk(tmp_path: Path, mounted: str) -> None:
    write_wav(tmp_path / "a.wav")
    DataDir(tmp_path, {"a": "a.wav"}, {"a": "a"}).write(tmp_path / "data")
    (tmp_path / "exp").mkdir()
    (tmp_path / "data" / "arks").symlink_to("../exp")
    under = ["unshare", mounted, "sh", "-c", FULL_DISK, "sh"]
    error, _ = refused(tmp_path, "steps/make_fbank.py", "data", *FBANK, under=under)
    assert error.startswith("data/arks/") and error.endswith(": cannot write: No space left on device")


class Payload:
    """A pickle that makes a file where it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch owned",)


def test_checkpoints_that_would_run_code(tmp_path: Path) -> None:
    write_small_egs(tmp_path / "egs")
    network, objective = write_configs(tmp_path / "conf")
    train = ("steps/train.py", "egs", "model", "--network", network, "--objective", objective, *TRAIN)
    works(tmp_path, *train)
    model, payload = tmp_path / "model", pickle.dumps(Payload(), protocol=2)
    checkpoint = model / "checkpoints" / "step-0000002.pt"

    (model / "final.pt").write_bytes(payload)
    error, _ = refused(tmp_path, "steps/extract_embeddings.py", "model", "egs_data", "x")
    assert error == "model/final.pt: refused: it holds more than tensors and numbers, or is damaged"
    (model / "final.pt").unlink()
    checkpoint.write_bytes(payload)
    assert f"{checkpoint.relative_to(tmp_path)}: refused" in works(tmp_path, *train).stderr
    assert checkpoint.with_suffix(".damaged").read_bytes() == payload and checkpoint.read_bytes() != payload
    assert not list(tmp_path.rglob("owned"))
