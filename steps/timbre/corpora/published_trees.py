"""Corpora in the layout that they are published in, of any size: what files they have, and what is in them.

small_trees.py fills them with made sounds for a dress rehearsal (run.sh --dress-rehearsal); the tests of the fronts
local/prepare_*.py have them in miniature.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal, NamedTuple


class Sound(NamedTuple):
    """What a file sounds like: a voice, a noise, music or a room, and whose or which."""

    kind: Literal["voice", "noise", "music", "room"]
    who: str


class Person(NamedTuple):
    """What the lists say of a speaker."""

    name: str
    sex: str
    nation: str


@dataclass(frozen=True)
class Tree:
    """Files by their paths: audio, and lists in text."""

    audio: dict[str, Sound] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


PLACES = {"vox1_dev": "vox1/dev/wav", "vox1_test": "vox1/test/wav", "vox2_dev": "vox2/dev/aac", "vox2_test": "vox2/aac"}


def voxceleb(parts: Mapping[str, Sequence[str]], people: Mapping[str, Person]) -> Tree:
    """VoxCeleb1, wav, and VoxCeleb2, m4a, with meta files and the lists O, E and H, as published and cleaned.

    Args:
        parts: vox1_dev, vox1_test, vox2_dev, vox2_test -> utterances, "id10001/1zcIwhmdeo4/00001"
        people: speaker -> what the meta files say; of all of them
    """
    tree = Tree()
    meta = {
        "vox1": "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n",
        "vox2": "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \r\n",
    }
    for part, utts in parts.items():
        corpus, _, kind = part.partition("_")
        suffix = "wav" if corpus == "vox1" else "m4a"
        for utt in utts:
            tree.audio[f"{PLACES[part]}/{utt}.{suffix}"] = Sound("voice", utt.partition("/")[0])
        for spk in sorted({utt.partition("/")[0] for utt in utts}):
            name, sex, nation = people[spk]
            row = (
                f"{spk}\t{name}\t{sex}\t{nation}\t{kind}\n"
                if corpus == "vox1"
                else f"{spk} ,{name} ,{sex} ,{kind} \r\n"
            )
            meta[corpus] += row
    tree.texts["vox1/vox1_meta.csv"], tree.texts["vox2_meta.csv"] = meta["vox1"], meta["vox2"]
    every = [*parts["vox1_dev"], *parts["vox1_test"]]
    nations = {utt: people[utt.partition("/")[0]][1:] for utt in every}  # hard: of one sex and nation
    hard = [pair for pair in combinations(every, 2) if nations[pair[0]] == nations[pair[1]]]
    lists = {
        "veri_test": combinations(parts["vox1_test"], 2),
        "list_test_all": combinations(every, 2),
        "list_test_hard": hard,
    }
    for name, pairs in lists.items():
        text = _pairs(pairs)
        tree.texts[f"vox1/{name}.txt"] = tree.texts[f"vox1/{name}2.txt"] = text
    return tree


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(
        f"{int(one.partition('/')[0] == other.partition('/')[0])} {one}.wav {other}.wav\n" for one, other in pairs
    )


def cnceleb(dev: Sequence[str], evaluation: Sequence[str], second: Sequence[str], names: Sequence[str]) -> Tree:
    """CN-Celeb1 and 2, flac.

    Args:
        dev: speakers of CN-Celeb1 to train on
        evaluation: its speakers to test, each enrolled by the first two of NAMES and tested by the others
        second: speakers of CN-Celeb2
        names: of the utterances of each, "singing-01-001"
    """
    tree, root = Tree(), "CN-Celeb_flac/eval"
    for folder, speakers in (("CN-Celeb_flac", [*dev, *evaluation]), ("CN-Celeb2_flac", second)):
        tree.audio.update(
            {f"{folder}/data/{spk}/{name}.flac": Sound("voice", spk) for spk in speakers for name in names}
        )
    tests = [f"test/{spk}-{name}" for spk in evaluation for name in names[2:]]
    tree.audio.update({f"{root}/enroll/{spk}-enroll.flac": Sound("voice", spk) for spk in evaluation})
    tree.audio.update({f"{root}/{test}.flac": Sound("voice", test[5:12]) for test in tests})
    lists = {
        "enroll.lst": [f"{spk}-enroll enroll/{spk}-enroll.wav" for spk in evaluation],
        "enroll.map": [f"{spk}-enroll {spk}/{names[0]}.wav {spk}/{names[1]}.wav" for spk in evaluation],
        "test.lst": [f"{test}.wav" for test in tests],
        "trials.lst": [f"{spk}-enroll {test}.wav {int(test[5:12] == spk)}" for spk in evaluation for test in tests],
    }
    tree.texts.update({f"{root}/lists/{name}": _lines(lines) for name, lines in lists.items()})
    tree.texts.update({"CN-Celeb_flac/dev/dev.lst": _lines(dev), "CN-Celeb2_flac/spk.lst": _lines(second)})
    return tree


def musan(number: int = 1) -> Tree:
    """MUSAN, NUMBER recordings of each source (of music, two)."""
    tree = Tree()
    for source in ("free-sound", "sound-bible"):
        for index in range(number):
            name = f"musan/noise/{source}/noise-{source}-{index:04}.wav"
            tree.audio[name] = Sound("noise", name)
    for index in range(2 * number):
        tree.audio[f"musan/music/fma/music-fma-{index:04}.wav"] = Sound("music", f"fma{index}")
    for index in range(number):
        tree.audio[f"musan/speech/librivox/speech-librivox-{index:04}.wav"] = Sound("voice", f"librivox{index}")
    rows = [f"music-fma-{index:04} {'rock N C' if index % 2 else 'jazz Y A B'}" for index in range(2 * number)]
    tree.texts.update({"musan/music/fma/ANNOTATIONS": _lines(rows), "musan/music/fma/LICENSE": "CC BY\n"})
    return tree


def rirs(number: int = 1) -> Tree:
    """RIRS_NOISES, NUMBER responses of each size of simulated room, a real one, two noises."""
    tree, real = Tree(), "RIRS_NOISES/real_rirs_isotropic_noises"
    for size in ("small", "medium", "large"):
        for index in range(1, number + 1):
            name = f"RIRS_NOISES/simulated_rirs/{size}room/Room001/Room001-{index:05}.wav"
            tree.audio[name] = Sound("room", name)
    response, noise = (
        f"{real}/air_type1_air_binaural_aula_carolina_0_1_1.wav",
        f"{real}/RVB2014_type1_noise_largeroom1_1.wav",
    )
    point = "RIRS_NOISES/pointsource_noises/noise-free-sound-0000.wav"
    tree.audio.update({response: Sound("room", "aula"), noise: Sound("noise", "room"), point: Sound("noise", "point")})
    tree.texts[f"{real}/rir_list"] = f"--rir-id 0001 --room-id a {response}\n"
    tree.texts[f"{real}/noise_list"] = f"--noise-id 0001 --room-linkage a {noise}\n"
    return tree


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
