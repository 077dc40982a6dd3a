"""How the fronts local/prepare_*.py must take the corpora of miniature_trees.py; for their tests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from local import (
    prepare_3dspeaker,
    prepare_aidatatang,
    prepare_aishell1,
    prepare_aishell2,
    prepare_ami,
    prepare_chime5,
    prepare_cnceleb,
    prepare_commonvoice,
    prepare_dacon,
    prepare_hw4,
    prepare_librispeech,
    prepare_magicdata,
    prepare_musan,
    prepare_rirs,
    prepare_sitw,
    prepare_speechocean762,
    prepare_tal_csasr,
    prepare_timit,
    prepare_voices,
)
from miniature_trees import (
    aidatatang,
    aishell1,
    aishell2,
    ami,
    chime5,
    cnceleb,
    commonvoice,
    dacon,
    hw4,
    librispeech,
    magicdata,
    musan,
    rirs,
    sitw,
    speechocean762,
    tal_csasr,
    threedspeaker,
    timit,
    voices,
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
    "aidatatang": Miniature(
        prepare_aidatatang,
        aidatatang,
        {"PARTS": {"train": ("train", 2, 4), "dev": ("dev", 1, 2), "test": ("eval_aidatatang", 2, 4)}},
        ("train", "dev", "eval_aidatatang"),
        ("aidatatang_200zh/corpus/test/G0003/T0055G0003S0001.wav", "test: utterances: 3 are there, 4 are published"),
        None,
        None,
    ),
    "magicdata": Miniature(
        prepare_magicdata,
        magicdata,
        {"SPEAKERS": 5},
        ("train", "dev", "eval_magicdata"),
        (
            "test/38_5837/38_5837_20170826171117.wav",
            "1 files of test/TRANS.txt, such as 38_5837-38_5837_20170826171117",
        ),
        ("metadata/SPKINFO.txt", "metadata/SPKINFO.txt or SPKINFO.txt"),
        ("dev/TRANS.txt", "x\n", r"dev/TRANS\.txt:4: 3 fields are wanted, not 1: 'x'"),
    ),
    "tal_csasr": Miniature(
        prepare_tal_csasr,
        tal_csasr,
        {},
        ("unlabelled",),
        ("TAL_CSASR/cs_wav/a/0001.wav", "1 files of label, such as 0001"),
        None,
        None,
    ),
    "chime5": Miniature(
        prepare_chime5,
        chime5,
        {"SESSIONS": {"train": "S03", "dev": "S02", "eval": "S01 S21"}},
        ("train", "dev", "eval_chime5"),
        ("CHiME5/audio/eval/S01_P01.wav", "S01_P01.wav"),
        ("CHiME5/transcriptions/dev/S02.json", "CHiME5/transcriptions/dev/S02.json"),
        ("CHiME5/transcriptions/dev/S02.json", "[", r"S02\.json:\d+: not JSON"),
    ),
    "voices": Miniature(
        prepare_voices,
        voices,
        {},
        ("train", "eval_voices"),
        (
            "VOiCES_devkit/distant-16k/speech/test/rm1/babb/sp0115/"
            "Lab41-SRI-VOiCES-rm1-babb-sp0115-ch004137-sg0007-mc01-stu-clo-dg150.wav",
            "1 files of test_index.csv, such as distant-16k/speech/test/rm1/babb/sp0115/Lab41-SRI",
        ),
        ("VOiCES_devkit/references/train_index.csv", "VOiCES_devkit/references/train_index.csv"),
        ("VOiCES_devkit/references/train_index.csv", "1,2\n", r"train_index\.csv:10: 13 fields are wanted, not 2"),
    ),
    "commonvoice": Miniature(
        prepare_commonvoice,
        commonvoice,
        {},
        ("train", "eval_commonvoice_en", "eval_commonvoice_de"),
        ("de/clips/common_voice_de_f1.mp3", "1 clips of de/validated.tsv, such as common_voice_de_f1.mp3"),
        ("de/dev.tsv", "de/dev.tsv"),
        ("en/validated.tsv", "a\n", r"en/validated\.tsv:15: 6 fields are wanted, not 1"),
    ),
    "ami": Miniature(
        prepare_ami,
        ami,
        {},
        ("train", "dev", "eval_ami"),
        ("amicorpus/ES2004a/audio/ES2004a.Headset-0.wav", "1 recordings, such as ES2004a.Headset-0.wav"),
        ("ami_public_manual_1.6.2/segments/ES2002a.A.segments.xml", "segments/ES2002a.A.segments.xml"),
        ("ami_public_manual_1.6.2/segments/ES2002a.A.segments.xml", "<", r"ES2002a\.A\.segments\.xml: not XML"),
    ),
    "3dspeaker": Miniature(
        prepare_3dspeaker,
        threedspeaker,
        {},
        ("train", "eval_3dspeaker"),
        (
            "3dspeaker/test/3D_SPK_10001/3D_SPK_10001_001_Device03_Distance00_Dialect00.wav",
            "files of 1 trials of trials_cross_device, first of line 1",
        ),
        ("3dspeaker/files/trials_cross_distance", "trials_cross_distance"),
        ("3dspeaker/files/train_wav.scp", "a\n", r"train_wav\.scp:7: 2 fields are wanted, not 1"),
    ),
    "dacon": Miniature(
        prepare_dacon,
        dacon,
        {},
        ("train", "eval_dacon"),
        ("wav/a/1.wav", "1 files of the lists, such as a/1.wav"),
        ("test_data.csv", "test_data or test_data.csv"),
        ("test_data.csv", "c/1.wav,c/2.wav,2\n", r"test_data\.csv:4: label '2' is not 0 or 1"),
        {"audio": "wav"},
    ),
    "hw4": Miniature(
        prepare_hw4,
        hw4,
        {"PUBLISHED": {"train": (2, 4), "test": (None, 2)}},
        ("train", "eval_hw4"),
        ("uttr-id00464a.pt", "train: utterances: 3 are there, 4 are published"),
        None,
        ("metadata.json", "}", r"metadata\.json:\d+: not JSON"),
    ),
}


def only(*names: str) -> pytest.MarkDecorator:
    """The test is of the small corpora NAMES."""
    return pytest.mark.parametrize("miniature", names, indirect=True)
