#!/usr/bin/env python3
"""Quality measures of the utterances of a data directory, which move the offset of a calibration."""

import logging
import math
from pathlib import Path

from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import write_table
from timbre.utils.cli import run_step


def make_quality(
    data_dir: Path,
    out_dir: Path,
    embeddings: Path | None = None,
    cohort_scp: Path | None = None,
    cohort_utt2spk: Path | None = None,
    mean: Path | None = None,
    top_n: int = 300,
    nj: int = 4,
) -> None:
    """Write OUT_DIR/utt2*, tables "utterance number" that train_calibration.py takes as --measures.

    utt2logdur: logarithm of the seconds of speech. utt2snr: signal-to-noise ratio in dB, by energy and VAD. utt2band,
    of filter banks that go beyond 4 kHz: power of speech above it in dB, which tells a telephone. With EMBEDDINGS
    utt2magnitude, the logarithm of their length; with COHORT_SCP too utt2cohort, the mean of the TOP_N highest cosines
    with the cohort. utt2sex, a label (--labels), where the data directory has spk2gender.

    Args:
        data_dir: data directory with features and vad.scp
        out_dir: the folder to write into
        embeddings: of its utterances (scp or ark)
        cohort_scp: embeddings of other speakers; those of DATA_DIR are left out
        cohort_utt2spk: average the cohort's embeddings by speaker
        mean: vector to subtract before the cosine, such as mean.vec of the back-end
        top_n: how many of the cohort; at most the whole
        nj: number of jobs
    """
    from timbre.backend.vectors import Embeddings
    from timbre.decision.embedding_quality import cohort_means, magnitudes  # scipy takes half a second: not for --help
    from timbre.feats.options import options_from
    from timbre.feats.speech_quality import measure_speech
    from timbre.utils.configure import read_config

    data = DataDir.read(data_dir)
    conf = data_dir / "conf" / "feats.yaml"
    speech = measure_speech(data, nj, options=options_from(read_config(conf)) if conf.is_file() else None)
    tables = {
        "logdur": {utt: math.log(found.seconds) for utt, found in speech.items()},
        "snr": {utt: found.snr for utt, found in speech.items()},
    }
    if bands := {utt: found.band for utt, found in speech.items() if found.band is not None}:
        tables["band"] = bands
    if embeddings:
        side = Embeddings.read(embeddings).take(data.utts, str(data_dir))
        tables["magnitude"] = magnitudes(side, embeddings)
        if cohort_scp:
            speakers = set(data.utt2spk.values())
            tables["cohort"] = cohort_means(side, cohort_scp, cohort_utt2spk, speakers, mean, top_n, nj)
    for name, table in tables.items():
        write_table(out_dir / f"utt2{name}", {utt: f"{value:.6g}" for utt, value in table.items()})
    if data.has("spk2gender"):
        genders = data.table("spk2gender")
        sex = {utt: genders[spk] for utt, spk in data.utt2spk.items() if spk in genders}
        write_table(out_dir / "utt2sex", sex)
    logging.info("%s: %s of %d utterances", out_dir, ", ".join(tables), len(speech))


if __name__ == "__main__":
    run_step(make_quality)
