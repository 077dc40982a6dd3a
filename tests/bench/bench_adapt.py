#!/usr/bin/env python3
"""Back-ends adapted to 10, 50 and 500 utterances of ten speakers of a set, on the trials of its other speakers.

    python tests/bench/bench_adapt.py ../shared/corpora --model exp/development/model
    python tests/bench/bench_adapt.py ../shared/corpora --model exp/development/model -- --adapt-method coral

The set is eval_arabic, its first ten speakers (C order) the new domain, drawn from with one seed, so that ten
utterances are among the fifty. What follows -- goes to ./run.sh, which the training set of the corpora and the model
make the back-ends of. The work lies in exp/bench_adapt; a second call goes on there. Prints one JSON line a size: EER
in percent with its 95 % interval, minDCF at 0.01 and Cllr by system, adapted and not.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from timbre.datadir.contents import Contents
from timbre.datadir.datadir import DataDir

ROOT = Path(__file__).resolve().parents[2]
TWINS = ("", "_adapted")
SYSTEMS = [f"{name}{twin}{kind}" for name in ("cosine", "plda") for kind in ("", "_asnorm", "_llr") for twin in TWINS]


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--set", default="eval_arabic")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 50, 500])
    parser.add_argument("--speakers", type=int, default=10)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = sys.argv[1:]
    cut = args.index("--") if "--" in args else len(args)
    given, options = parser.parse_args(args[:cut]), args[cut + 1 :]
    work = ROOT / "exp" / "bench_adapt"
    name = given.set
    split(given.corpora, name, given.speakers, given.sizes, given.seed, work)
    for size in given.sizes:
        run = f"bench_adapt_{size}"
        command = ["./run.sh", "--name", run, "--corpus", "kaldi", "--corpus-dir", work / "corpus"]
        command += ["--corpus-conf", "", "--model", given.model.resolve(), "--adapt-dir", work / f"adapt{size}"]
        subprocess.run([*map(str, command), *options], cwd=ROOT, check=True, stdout=sys.stderr)
        records = json.loads((ROOT / "exp" / run / "results.json").read_text())
        found = {one["backend"]: one for one in records if one["trials"] == name}
        table = {
            system: {
                "eer": round(100 * found[system]["eer"], 2),
                "ci": [round(100 * edge, 2) for edge in found[system]["eer_ci"]],
                "min_dcf": round(found[system]["min_dcf"]["0.01"], 4),
                **({"cllr": round(found[system]["cllr"], 4)} if "cllr" in found[system] else {}),
            }
            for system in SYSTEMS
            if system in found
        }
        print(json.dumps({"set": name, "utterances": size, "options": options, "systems": table}), flush=True)


def split(corpora: Path, name: str, speakers: int, sizes: list[int], seed: int, work: Path) -> None:
    """WORK/corpus/data/{train,NAME}, the latter without its first SPEAKERS; WORK/adaptN: N utterances of those."""
    root = corpora.resolve()
    Contents.read(root / "data" / "train").relocate(root).write(work / "corpus" / "data" / "train")
    contents = Contents.read(root / "data" / name).relocate(root)
    new = set(sorted(set(contents.utt2spk.values()))[:speakers])
    inside = sorted(utt for utt, spk in contents.utt2spk.items() if spk in new)
    contents.select(contents.utt2spk.keys() - set(inside)).write(work / "corpus" / "data" / name)
    order = np.random.default_rng(seed).permutation(len(inside))
    for size in sizes:
        if size > len(inside):
            sys.exit(f"{size} utterances are wanted, and {speakers} speakers of {name} have {len(inside)}")
        utts = sorted(inside[row] for row in order[:size])
        wavs = {utt: contents.tables["wav.scp"][utt] for utt in utts}
        DataDir(work / f"adapt{size}", wavs, {utt: utt for utt in utts}).write(work / f"adapt{size}")


if __name__ == "__main__":
    main()
