#!/usr/bin/env python3
"""What a pack promises beside what comes of it, on a Kaldi data directory with trials, from audio to verdict.

bench_verdicts.py my.timbre data/eval_so762 OUT [--num-trials 20000] [--min-speech 0.5]: writes OUT.json and OUT.md, the
error rates at every threshold that the pack lists, promised and observed, and, by bins of the promised probability (at
a prior of one half), the share of pairs that are of one speaker. Intervals (95 %) by the bootstrap over speakers.
"""

import argparse
import json
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import timbre
from timbre.datadir.tables import read_table
from timbre.datadir.trials import read_trials
from timbre.people.commands.command_line import progress
from timbre.runtime.logistic import expit
from timbre.runtime.thresholds import error_rates, interval, speaker_counts
from timbre.utils.errors import DataError

EDGES = (0.0, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 1.0)


def heard(voice: Any, data: Path, utts: list[str], min_speech: float | None) -> dict[str, Any]:
    """Encodings of the UTTS that can be used."""
    where, found = read_table(data / "wav.scp"), {}
    for utt in progress(utts, len(utts), "embed"):
        try:
            found[utt] = voice.encoder(voice.read(where[utt]), min_speech)
        except DataError as error:
            if error.status != 3:
                raise
    return found


def calibration_bins(llrs: np.ndarray, target: np.ndarray, first: np.ndarray, second: np.ndarray, draws: int) -> list:
    """Of each bin of probability: pairs, the mean promised, the share observed, its interval over speakers.

    Targets and nontargets weigh alike, as at a prior of one half.
    """
    chance = expit(llrs)
    weights = np.where(target, 0.5 / target.sum(), 0.5 / (~target).sum())
    speakers = 1 + int(max(first.max(), second.max()))
    dummy = np.where(first == second, speakers, second)
    found = []
    for low, high in pairwise(EDGES):
        inside = (chance >= low) & ((chance < high) | (high == 1.0))
        if not inside.any():
            continue
        shares = []
        for index in range(draws):
            drawn = speaker_counts(speakers, 0, index)
            some = weights[inside] * drawn[first[inside]] * drawn[dummy[inside]]
            shares.append(some @ target[inside] / some.sum() if some.sum() else np.nan)
        own = weights[inside]
        found.append({
            "from": low, "to": high, "pairs": int(inside.sum()), "targets": int(target[inside].sum()),
            "promised": float(own @ chance[inside] / own.sum()), "observed": float(own @ target[inside] / own.sum()),
            "interval": interval(np.array(shares)),
        })  # fmt: skip
    return found


def page(content: dict[str, Any]) -> str:
    """OUT.md."""

    def rate(one: dict[str, Any]) -> str:
        ends = "" if one["low"] is None else f" [{100 * one['low']:.2g}, {100 * one['high']:.2g}]"
        return f"{100 * one['rate']:.3g}{ends}"

    lines = [
        f"# Promised and observed: {content['pack']} on {content['data']}", "",
        f"{content['pairs']:,} pairs ({content['targets']:,} of one speaker) of {content['speakers']} speakers;"
        f" {content['no_decision']:,} pairs without a decision. Rates in %, 95 % intervals over speakers.", "",
        "| threshold for | llr | misses promised | observed | false alarms promised | observed |",
        "|---|---|---|---|---|---|",
        *(f"| {one['for']} | {one['threshold']:.2f} | {rate(one['promised_miss'])} | {rate(one['miss'])} |"
          f" {rate(one['promised_false_alarm'])} | {rate(one['false_alarm'])} |" for one in content["points"]), "",
        "| probability | pairs | promised | observed |", "|---|---|---|---|",
        *(f"| {one['from']:g} to {one['to']:g} | {one['pairs']:,} | {one['promised']:.3f} | {one['observed']:.3f}"
          + ("" if one["interval"] is None else f" [{one['interval'][0]:.3f}, {one['interval'][1]:.3f}]") + " |"
          for one in content["bins"]), "",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--num-trials", type=int, default=0, help="so many, drawn; 0: all")
    parser.add_argument("--num-speakers", type=int, default=0, help="of so many speakers, drawn; 0: all")
    parser.add_argument("--min-speech", type=float, help="seconds; by default as the pack says")
    parser.add_argument("--variant", default="fp32")
    parser.add_argument("--draws", type=int, default=300)
    args = parser.parse_args()
    begun = time.perf_counter()
    voice = timbre.load(args.pack, 1, args.variant)
    trials, utt2spk = read_trials(args.data / "trials"), read_table(args.data / "utt2spk")
    random = np.random.default_rng(0)
    names = sorted(set(utt2spk.values()))
    kept = set(random.permutation(names)[: args.num_speakers or None].tolist())
    own = [np.array([utt2spk[utt] in kept for utt in side]) for side in (trials.enroll_ids, trials.test_ids)]
    rows = np.flatnonzero(own[0][trials.enroll] & own[1][trials.test])
    rows = np.sort(random.permutation(rows)[: args.num_trials or None])
    pairs = [(trials.enroll_ids[trials.enroll[row]], trials.test_ids[trials.test[row]]) for row in rows.tolist()]
    utts = sorted({utt for pair in pairs for utt in pair})
    encodings = heard(voice, args.data, utts, args.min_speech)
    usable = np.array([one in encodings and two in encodings for one, two in pairs])
    if not usable.any():
        sys.exit("no pair can be decided on: --min-speech 0.5 takes shorter recordings")
    pairs = [pair for pair, good in zip(pairs, usable, strict=True) if good]
    target = trials.target[rows][usable]
    place = {utt: row for row, utt in enumerate(encodings)}
    vectors = np.stack([one.vector for one in encodings.values()])
    columns = np.array([place[two] for _, two in pairs])
    lefts = np.array([place[one] for one, _ in pairs])
    llrs = np.empty(len(pairs))
    items = list(encodings.values())
    for row in np.unique(lefts):
        asked = np.flatnonzero(lefts == row)
        scores = voice.scorer.score(vectors[row][None], np.ones(1, np.int64), vectors[columns[asked]])[0]
        left, right = [items[row].measures] * len(asked), [items[one].measures for one in columns[asked]]
        llrs[asked] = voice.scorer.supported(voice.scorer.llr(scores, left, right))
    number = {name: place for place, name in enumerate(names)}
    first = np.array([number[utt2spk[one]] for one, _ in pairs])
    second = np.array([number[utt2spk[two]] for _, two in pairs])
    points = voice.scorer.points
    found = error_rates(llrs, target, first, second, np.array([one.threshold for one in points]), args.draws)
    listed = [
        {"for": f"{one.kind.replace('_', ' ')} {one.value:g}", "threshold": one.threshold,
         "promised_miss": _plain(one.miss), "promised_false_alarm": _plain(one.false_alarm),
         "miss": _plain(miss), "false_alarm": _plain(alarm)}
        for one, (miss, alarm) in zip(points, found, strict=True)
    ]  # fmt: skip
    content = {
        "bench": "verdicts", "pack": args.pack.name, "data": args.data.name, "variant": args.variant,
        "pairs": len(pairs), "targets": int(target.sum()), "no_decision": int((~usable).sum()),
        "speakers": len({*first.tolist(), *second.tolist()}), "points": listed,
        "bins": calibration_bins(llrs, target, first, second, args.draws),
        "seconds": round(time.perf_counter() - begun, 1),
    }  # fmt: skip
    args.out.with_suffix(".json").write_text(json.dumps(content, indent=1))
    args.out.with_suffix(".md").write_text(page(content))
    print(
        json.dumps(
            {key: content[key] for key in ("bench", "pack", "data", "pairs", "targets", "no_decision", "seconds")}
        )
    )


def _plain(rate: Any) -> dict[str, Any]:
    return {"rate": rate.rate, "low": rate.low, "high": rate.high, "errors": rate.errors, "trials": rate.trials}


if __name__ == "__main__":
    main()
