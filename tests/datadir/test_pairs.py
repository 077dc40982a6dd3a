"""Trials made from speakers, against brute force."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from timbre.datadir import pairs as module
from timbre.datadir.pairs import Pairing, match_utterances
from timbre.datadir.trials import Trials, join_trials
from timbre.utils.errors import DataError

Triple = tuple[str, str, bool]


class Corpus:
    """Random speakers of unequal size, with gender and session known of most."""

    def __init__(self, seed: int, num_speakers: int = 12) -> None:
        generator = np.random.default_rng(seed)
        self.utt2spk = {
            f"s{spk:02d}-{part:02d}": f"s{spk:02d}"
            for spk in range(num_speakers)
            for part in range(generator.integers(1, 9))
        }
        self.genders = {spk: str(generator.choice(["m", "f"])) for spk in set(self.utt2spk.values()) - {"s03"}}
        self.sessions = {utt: f"{generator.integers(3)}" for utt in self.utt2spk if not utt.endswith("05")}

    def brute_force(self, same_sex: bool, cross_session: bool) -> list[Triple]:
        triples = []
        for enroll, test in combinations(sorted(self.utt2spk), 2):
            speakers = [self.utt2spk[utt] for utt in (enroll, test)]
            target = speakers[0] == speakers[1]
            genders = [self.genders.get(spk) for spk in speakers]
            sessions = [self.sessions.get(utt) for utt in (enroll, test)]
            if (same_sex and None in genders) or (cross_session and None in sessions):
                continue
            if target and cross_session and sessions[0] == sessions[1]:
                continue
            if not target and same_sex and genders[0] != genders[1]:
                continue
            triples.append((enroll, test, target))
        return triples

    def pairing(self, same_sex: bool, cross_session: bool) -> Pairing:
        return Pairing(self.utt2spk, self.genders if same_sex else None, self.sessions if cross_session else None)


def triples(trials: Trials) -> list[Triple]:
    return [
        (trials.enroll_ids[enroll], trials.test_ids[test], bool(target))
        for enroll, test, target in zip(trials.enroll, trials.test, trials.target, strict=True)
    ]


@pytest.mark.parametrize("same_sex", [False, True])
@pytest.mark.parametrize("cross_session", [False, True])
@pytest.mark.parametrize("block", [1, 100, 1 << 20])
def test_all_pairs_are_those_of_brute_force(
    same_sex: bool, cross_session: bool, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    for seed in range(3):
        corpus = Corpus(seed)
        made = join_trials(list(corpus.pairing(same_sex, cross_session).all()))
        assert triples(made) == corpus.brute_force(same_sex, cross_session)


@pytest.mark.parametrize("same_sex", [False, True])
@pytest.mark.parametrize("cross_session", [False, True])
@pytest.mark.parametrize(("nontargets", "max_targets"), [(0, None), (1, None), (1, 10), (3, 7), (100, None)])
def test_a_sample_is_of_them(same_sex: bool, cross_session: bool, nontargets: int, max_targets: int | None) -> None:
    for seed in range(3):
        corpus = Corpus(seed)
        every = corpus.brute_force(same_sex, cross_session)
        targets = sum(target for _, _, target in every)
        made = triples(corpus.pairing(same_sex, cross_session).sample(nontargets, max_targets, seed))
        assert set(made) <= set(every)
        assert len(set(made)) == len(made)
        assert made == sorted(made)
        wanted = targets if max_targets is None else min(targets, max_targets)
        assert sum(target for _, _, target in made) == wanted
        assert sum(not target for _, _, target in made) == min(len(every) - targets, nontargets * wanted)


def test_samples_are_by_seed_whatever_the_order_of_the_table() -> None:
    corpus = Corpus(0)
    shuffled = dict(sorted(corpus.utt2spk.items(), key=lambda item: item[0][::-1]))
    samples = [
        Pairing(table).sample(2, 20, seed) for table, seed in ((corpus.utt2spk, 1), (shuffled, 1), (shuffled, 2))
    ]
    assert triples(samples[0]) == triples(samples[1])
    assert triples(samples[0]) != triples(samples[2])


def test_targets_are_shared_evenly_between_speakers() -> None:
    utt2spk = {f"{spk}-{part:02d}": spk for spk, size in (("a", 40), ("b", 10), ("c", 3)) for part in range(size)}
    made = triples(Pairing(utt2spk).sample(0, 43, seed=0))
    counts = [sum(enroll.startswith(spk) for enroll, _, _ in made) for spk in "abc"]
    assert counts == [20, 20, 3]


def test_nontargets_are_drawn_evenly() -> None:
    utt2spk = {f"{spk}-{part}": spk for spk in "abcd" for part in range(6)}
    counts = dict.fromkeys(combinations("abcd", 2), 0)
    for seed in range(40):
        for enroll, test, target in triples(Pairing(utt2spk).sample(1, 20, seed)):
            if not target:
                counts[enroll[0], test[0]] += 1
    expected = 40 * 20 / 6
    assert all(abs(count - expected) < 5 * np.sqrt(expected) for count in counts.values())


def test_what_makes_no_trial_is_refused() -> None:
    with pytest.raises(DataError, match="no two utterances make a target trial"):
        Pairing({"a-1": "a", "b-1": "b"}).sample(1)
    with pytest.raises(DataError, match="no two utterances make a target trial"):
        Pairing({"a-1": "a", "a-2": "a"}, sessions={"a-1": "x", "a-2": "x"}).sample(1)
    with pytest.raises(DataError, match="no two utterances make a trial"):
        list(Pairing({"a-1": "a"}).all())
    with pytest.raises(DataError, match="no two utterances make a trial"):
        list(Pairing({"a-1": "a", "a-2": "a"}, genders={}).all())


def test_a_sample_of_no_nontargets_is_of_targets_alone() -> None:
    made = triples(Pairing({"a-1": "a", "a-2": "a"}).sample(0))
    assert made == [("a-1", "a-2", True)]
    for numbers in ((-1, None), (1, 0)):
        with pytest.raises(DataError, match="cannot be drawn"):
            Pairing({"a-1": "a", "a-2": "a"}).sample(*numbers)


def test_paths_of_voxceleb_become_utterances() -> None:
    utts = {"id1-vid-00001", "id2-vi-d-00002", "plain"}
    trials = Trials.of(["id1/vid/00001.wav", "plain"], ["id2/vi-d/00002.wav", "id1-vid-00001"], [False, True])
    assert triples(match_utterances(trials, utts, Path("list"))) == [
        ("id1-vid-00001", "id2-vi-d-00002", False),
        ("plain", "id1-vid-00001", True),
    ]
    for strange in ("id3/v/1.wav", "/", "..", ".wav"):
        trials = Trials.of(["plain", "plain", strange], ["plain", "id1-vid-00001", "plain"], [True, False, False])
        with pytest.raises(DataError, match=f"list:3: '{strange}' is not an utterance"):
            match_utterances(trials, utts, Path("list"))
