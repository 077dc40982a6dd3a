"""Corpora as they are published, in miniature, for the tests of local/prepare_*.py."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from corpus_tree import plant, write

from local import (
    prepare_aishell1,
    prepare_aishell2,
    prepare_cnceleb,
    prepare_librispeech,
    prepare_musan,
    prepare_rirs,
    prepare_sitw,
    prepare_speechocean762,
    prepare_timit,
)


@dataclass(frozen=True)
class Miniature:
    """A small corpus and how its front must take it.

    Args:
        front: the module
        build: makes it in a folder
        published: constants of the front that stand for the published counts -> those of the miniature
        sets: what the front writes
        audio: a file that every copy has, and what is said when it is gone
        lists: a list, and what is said when it is gone
        bad: a list, a line to put at its end, and what is said of it; None: no list is read that could be bad
        options: of the front
    """

    front: ModuleType
    build: Callable[[Path], None]
    published: dict[str, Any]
    sets: tuple[str, ...]
    audio: tuple[str, str]
    lists: tuple[str, str] | None
    bad: tuple[str, str, str] | None
    options: dict[str, Any] = field(default_factory=dict)

    def prepare(self, corpus: Path, out: Path, **options: Any) -> None:
        name = self.front.__name__.rpartition(".")[2]
        getattr(self.front, name)(corpus, out, **{**self.options, **options})


def aishell1(path: Path) -> None:
    for part, speakers in (("train", "S0002 S0003"), ("dev", "S0724"), ("test", "S0764 S0765")):
        for spk in speakers.split():
            names = [f"data_aishell/wav/{part}/{spk}/BAC009{spk}W012{number}.wav" for number in range(2)]
            plant(path, *names)
    genders = "0002 F\n0003 M\n0724 F\n0764 F\n0765 F\n"
    write(path / "resource_aishell" / "speaker.info", genders)


def aishell2(path: Path) -> None:
    plant(path / "iOS" / "data" / "wav", *(f"{spk}/I{spk}W000{n}.wav" for spk in ("C0001", "D0001") for n in "12"))
    write(path / "iOS" / "data" / "spk_info.txt", "C0001\t23\t女\tNorth\nD0001\t31\t男\tSouth\n")
    for channel in ("iOS", "Android", "Mic"):
        for part, speakers in (("dev", ["D0012"]), ("test", ["T0011", "T0012"])):
            root = path / "AISHELL-DEV-TEST-SET" / channel / part / "wav"
            plant(root, *(f"{spk}/I{spk}W000{n}.wav" for spk in speakers for n in "12"))


def cnceleb(path: Path) -> None:
    names = ["singing-01-001", "singing-01-002", "singing-02-001", "vlog-01-001"]
    for spk in ("id00000", "id00001", "id00800", "id00801"):
        plant(path / "CN-Celeb_flac" / "data" / spk, *(f"{name}.flac" for name in names))
    for spk in ("id10000", "id10001"):
        plant(path / "CN-Celeb2_flac" / "data" / spk, *(f"{name}.flac" for name in names))
    write(path / "CN-Celeb_flac" / "dev" / "dev.lst", "id00000\nid00001\n")
    write(path / "CN-Celeb2_flac" / "spk.lst", "id10000\nid10001\n")
    eval_dir = path / "CN-Celeb_flac" / "eval"
    plant(eval_dir, *(f"enroll/id0080{n}-enroll.flac" for n in "01"))
    plant(eval_dir, *(f"test/id0080{n}-{name}.flac" for n in "01" for name in names[2:]))
    lists = eval_dir / "lists"
    write(lists / "enroll.lst", "".join(f"id0080{n}-enroll enroll/id0080{n}-enroll.wav\n" for n in "01"))
    enroll = "id0080{0}-enroll id0080{0}/singing-01-001.wav id0080{0}/singing-01-002.wav\n"
    write(lists / "enroll.map", "".join(map(enroll.format, "01")))
    tests = [f"test/id0080{n}-{name}.wav" for n in "01" for name in names[2:]]
    write(lists / "test.lst", "\n".join(tests) + "\n")
    trials = [f"id0080{n}-enroll {test} {int(test[11] == n)}\n" for n in "01" for test in tests]
    write(lists / "trials.lst", "".join(trials))


def librispeech(path: Path) -> None:
    parts = {"train-clean-100": "103 26", "test-clean": "61 121"}
    for part, speakers in parts.items():
        for spk in speakers.split():
            names = [f"{spk}/{chapter}/{spk}-{chapter}-000{n}.flac" for chapter in ("1240", "1241") for n in "01"]
            plant(path / "LibriSpeech" / part, *names)
            write(path / "LibriSpeech" / part / spk / "1240" / f"{spk}-1240.trans.txt", "x\n")
    lines = [";ID  |SEX| SUBSET           |MINUTES| NAME", "; a comment"]
    lines += [f"{spk:<4} | F | {part} | 25.03 | A | B" for part, speakers in parts.items() for spk in speakers.split()]
    write(path / "LibriSpeech" / "SPEAKERS.TXT", "\n".join(lines) + "\n")


def timit(path: Path) -> None:
    for part, speakers in (("TRAIN", ("FCJF0", "MDAC0")), ("TEST", ("FAKS0", "FDAC1"))):
        for spk in speakers:
            for name in ("SA1", "SI1027", "SX37"):
                plant(path / "TIMIT" / part / "DR1" / spk, f"{name}.WAV", kind="sph")
                write(path / "TIMIT" / part / "DR1" / spk / f"{name}.PHN", "0 1 h#\n")


def musan(path: Path) -> None:
    plant(path / "musan", "noise/free-sound/noise-free-sound-0000.wav", "noise/sound-bible/noise-sound-bible-0000.wav")
    plant(path / "musan", "music/fma/music-fma-0000.wav", "music/fma/music-fma-0001.wav")
    plant(path / "musan", "speech/librivox/speech-librivox-0000.wav")
    write(path / "musan" / "music" / "fma" / "ANNOTATIONS", "music-fma-0000 jazz Y A B\nmusic-fma-0001 rock N C\n")
    write(path / "musan" / "music" / "fma" / "LICENSE", "CC BY\n")


def rirs(path: Path) -> None:
    root = path / "RIRS_NOISES"
    for size in ("small", "medium", "large"):
        plant(root / "simulated_rirs" / f"{size}room", "Room001/Room001-00001.wav")
    real = root / "real_rirs_isotropic_noises"
    plant(real, "air_type1_air_binaural_aula_carolina_0_1_1.wav", "RVB2014_type1_noise_largeroom1_1.wav")
    folder = "RIRS_NOISES/real_rirs_isotropic_noises"
    write(real / "rir_list", f"--rir-id 0001 --room-id a {folder}/air_type1_air_binaural_aula_carolina_0_1_1.wav\n")
    write(real / "noise_list", f"--noise-id 0001 --room-linkage a {folder}/RVB2014_type1_noise_largeroom1_1.wav\n")
    plant(root / "pointsource_noises", "noise-free-sound-0000.wav")


def speechocean762(path: Path) -> None:
    root = path / "speechocean762"
    for part, speakers in (("train", ("0001", "0002")), ("test", ("0003", "0005"))):
        utts = [(f"0000{spk}{n}", spk) for spk in speakers for n in "01"]
        plant(root, *(f"WAVE/SPEAKER{spk}/{utt}.WAV" for utt, spk in utts))
        write(root / part / "wav.scp", "".join(f"{utt}\tWAVE/SPEAKER{spk}/{utt}.WAV\n" for utt, spk in utts))
        write(root / part / "utt2spk", "".join(f"{utt}\t{spk}\n" for utt, spk in utts))
        write(root / part / "spk2gender", "".join(f"{spk}\tm\n" for spk in speakers))
        write(root / part / "spk2age", "".join(f"{spk}\t6\n" for spk in speakers))


def sitw(path: Path) -> None:
    for part in ("dev", "eval"):
        root = path / part
        files = {"aaaaa": "AB", "bbbbb": "AB", "ccccc": "CD", "ddddd": "CD", "eeeee": "AB"}
        plant(root, *(f"audio/{name}.flac" for name in files), seconds=1.0)
        meta = "audio/{}.flac {} f video 60527{} 96 120 1 codec 3 interview laughter\n"
        write(root / "keys" / "meta.lst", "".join(meta.format(name, spk, spk == "CD") for name, spk in files.items()))
        write(root / "lists" / "enroll-core.lst", "10001 audio/aaaaa.flac\n10002 audio/ccccc.flac\n")
        write(
            root / "lists" / "enroll-assist.lst", "10001 audio/eeeee.flac 0.100 0.500\n20001 audio/ccccc.flac 0.5 0.9\n"
        )
        write(root / "lists" / "test-core.lst", "audio/bbbbb.flac\n")
        write(root / "lists" / "test-multi.lst", "audio/bbbbb.flac 1\naudio/ddddd.flac 2\n")
        for enroll, models in (("core", ("10001", "10002")), ("assist", ("10001", "20001"))):
            for test, tests in (("core", ["bbbbb"]), ("multi", ["bbbbb", "ddddd"])):
                lines = [
                    f"{model} audio/{name}.flac {'tgt' if (model in ('10002', '20001')) == (name == 'ddddd') else 'imp'}\n"
                    for model in models
                    for name in tests
                ]
                write(root / "keys" / f"{enroll}-{test}.lst", "".join(lines))


MINIATURES = {
    "aishell1": Miniature(
        prepare_aishell1,
        aishell1,
        {"PARTS": {"train": ("train", 2, 4), "dev": ("dev", 1, 2), "test": ("eval_aishell1", 2, 4)}},
        ("train", "dev", "eval_aishell1"),
        ("data_aishell/wav/train/S0002/BAC009S0002W0120.wav", "train: utterances: 3 are there, 4 are published"),
        None,
        ("resource_aishell/speaker.info", "0003\n", r"speaker\.info:6: 2 fields are wanted, not 1"),
    ),
    "aishell2": Miniature(
        prepare_aishell2,
        aishell2,
        {"PUBLISHED": {"train": (2, 4), "dev": (1, 2), "test": (2, 4)}},
        ("train", "dev", "eval_aishell2"),
        ("AISHELL-DEV-TEST-SET/Mic/test/wav/T0011/IT0011W0001.wav", "Mic test: utterances: 3 are there"),
        ("iOS/data/spk_info.txt", "iOS/data/spk_info.txt"),
        None,
    ),
    "cnceleb": Miniature(
        prepare_cnceleb,
        cnceleb,
        {"TRAIN": {"CN-Celeb_flac": ("dev/dev.lst", 2, 8), "CN-Celeb2_flac": ("spk.lst", 2, 8)}, "TRIALS": 8},
        ("train", "eval_cnceleb"),
        ("CN-Celeb_flac/eval/test/id00800-vlog-01-001.flac", "files of 2 trials of trials.lst, first of line 2"),
        ("CN-Celeb_flac/eval/lists/enroll.map", "CN-Celeb_flac/eval/lists/enroll.map"),
        ("CN-Celeb_flac/dev/dev.lst", "id00002 x\n", r"dev\.lst:3: 1 fields are wanted, not 2: 'id00002 x'"),
    ),
    "librispeech": Miniature(
        prepare_librispeech,
        librispeech,
        {"PARTS": {"train-clean-100": (2, 8), "test-clean": (2, 8)}},
        ("train", "eval_librispeech_test_clean"),
        ("LibriSpeech/test-clean/61/1240/61-1240-0000.flac", "test-clean: utterances: 7 are there, 8 are published"),
        None,
        ("LibriSpeech/SPEAKERS.TXT", "14 | X | a | 1 | b\n", r"SPEAKERS\.TXT:7: 'speaker \| F or M \| part"),
        {"train": ["train-clean-100"], "evaluate": ["test-clean"]},
    ),
    "timit": Miniature(
        prepare_timit,
        timit,
        {"PARTS": {"train": ("train", 2, 6), "test": ("eval_timit", 2, 6)}},
        ("train", "eval_timit"),
        ("TIMIT/TEST/DR1/FAKS0/SA1.WAV", "test: utterances: 5 are there, 6 are published"),
        None,
        None,
    ),
    "musan": Miniature(
        prepare_musan,
        musan,
        {"KINDS": {"music": 2, "noise": 2, "speech": 1}},
        ("music", "noise", "speech"),
        ("musan/noise/free-sound/noise-free-sound-0000.wav", "noise: files: 1 are there, 2 are published"),
        None,
        None,
    ),
    "rirs": Miniature(
        prepare_rirs,
        rirs,
        {"SIMULATED": 1, "REAL": 1, "POINT_SOURCES": 1},
        ("noise", "rir"),
        (
            "RIRS_NOISES/real_rirs_isotropic_noises/RVB2014_type1_noise_largeroom1_1.wav",
            "1 files of real_rirs_isotropic_noises/noise_list, such as RVB2014_type1_noise_largeroom1_1.wav",
        ),
        ("RIRS_NOISES/real_rirs_isotropic_noises/rir_list", "RIRS_NOISES/real_rirs_isotropic_noises/rir_list"),
        None,
    ),
    "speechocean762": Miniature(
        prepare_speechocean762,
        speechocean762,
        {"PARTS": {"train": ("train", 2, 4), "test": ("eval_speechocean762", 2, 4)}},
        ("train", "eval_speechocean762"),
        ("speechocean762/WAVE/SPEAKER0003/000000030.WAV", "test: utterances: 3 are there, 4 are published"),
        None,
        ("speechocean762/train/wav.scp", "x\n", r"train/wav\.scp:5: 2 fields are wanted, not 1"),
    ),
    "sitw": Miniature(
        prepare_sitw,
        sitw,
        {"TRIALS": {"dev": 2, "eval": 2}},
        ("eval_sitw_dev", "eval_sitw_eval"),
        ("eval/audio/ccccc.flac", "1 files of eval/audio, such as ccccc"),
        ("dev/keys/assist-multi.lst", "dev/keys/assist-multi.lst"),
        ("eval/lists/enroll-assist.lst", "3 audio/eeeee.flac 0.5 0.4\n", r"enroll-assist\.lst:3: it ends at 0\.4"),
    ),
}
