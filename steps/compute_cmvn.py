#!/usr/bin/env python3
"""Mean and variance statistics of a data directory, as Kaldi's compute_cmvn_stats.sh."""

from pathlib import Path

from timbre.datadir.ark import ArkWriter, read_mat
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import write_table
from timbre.runtime.cmvn import cmvn_stats
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def compute_cmvn(data_dir: Path, per_utt: bool = False) -> None:
    """Write cmvn.scp: for every speaker of DATA_DIR the sums of its frames and of their squares, and their number.

    Args:
        data_dir: Kaldi data directory with features
        per_utt: statistics of every utterance instead of every speaker
    """
    data = DataDir.read(data_dir)
    feats = data.table("feats.scp")
    groups = {utt: [utt] for utt in data.utts} if per_utt else data.spk2utt()
    with ArkWriter(data_dir / "arks" / "cmvn.ark") as writer:
        for name, utts in groups.items():
            if missing := [utt for utt in utts if utt not in feats]:
                text = f"utterance '{missing[0]}' has no features; steps/fix_data_dir.py takes such utterances out"
                raise DataError(text, data_dir / "feats.scp")
            stats = [cmvn_stats(read_mat(feats[utt], utt)) for utt in utts]
            if len({array.shape for array in stats}) > 1:
                raise DataError(f"the utterances of '{name}' differ in dimension", data_dir / "feats.scp")
            writer.write(name, sum(stats[1:], start=stats[0]))
        (data_dir / "cmvn.scp").unlink(missing_ok=True)  # an old one would point into the new archive
    write_table(data_dir / "cmvn.scp", writer.scp)


if __name__ == "__main__":
    run_step(compute_cmvn)
