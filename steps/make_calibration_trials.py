#!/usr/bin/env python3
"""A trial list for calibration, of training speakers that the network was not trained on."""

import logging
from pathlib import Path

from timbre.datadir.calibration_trials import CalibrationDraw, calibration_trials, without_copies
from timbre.datadir.contents import ORIGINALS, Contents
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import write_table
from timbre.datadir.trials import write_trials
from timbre.feats.protocols import utterance_seconds
from timbre.utils.cli import run_step


def make_calibration_trials(
    data_dir: Path,
    out_dir: Path,
    egs_dir: Path | None = None,
    spk_list: Path | None = None,
    model_dir: Path | None = None,
    within: list[str] = [],  # noqa: B006 (shown as the default)
    whole: bool = True,
    draw: CalibrationDraw = CalibrationDraw(),
) -> None:
    """Write OUT_DIR, a data directory with trials, of speakers that the network was not trained on.

    In the trials is one of an utterance and its copies (utt2uniq). The back-end must not know these speakers either:
    train it on all but OUT_DIR/held_out (steps/filter_scp.py --exclude), which has what they say and its copies, those
    of changed speed too, that count as other speakers.

    Args:
        data_dir: training data directory, with utt2dur or utt2num_frames
        out_dir: the new data directory
        egs_dir: training examples: their num_valid_speakers speakers were kept for trials
        spk_list: instead, the speakers in this file, one a line
        model_dir: instead, speakers that this model was not trained on: as many as training would keep out (5 %, but at
            least 20 and at most 300, and never more than a tenth of all), drawn by the seed
        within: tables of DATA_DIR, as [spk2gender,utt2session]: both sides of every trial have the same label. Say in
            which group the hard trials are, such as the corpus where several are mixed: easy nontargets make
            log-likelihood ratios that promise too much
        whole: whether OUT_DIR has all utterances of these speakers, or those of the trials alone
        draw: how many trials, and how they are drawn
    """
    from timbre.egs.held_out import held_out_speakers

    data = DataDir.read(data_dir)
    speakers = held_out_speakers(data, egs_dir, spk_list, model_dir, draw.seed)
    originals = data.table(ORIGINALS) if data.has(ORIGINALS) else {}
    held = {utt: spk for utt, spk in data.utt2spk.items() if spk in speakers}
    copies = {utt: data.utt2spk[utt] for utt, original in originals.items() if original in held and utt in data.utt2spk}
    utt2spk = without_copies(held, originals)
    seconds = utterance_seconds(data, utt2spk)
    labels = []
    for name in within:
        table = data.table(name)
        labels.append({u: table[k] for u, s in utt2spk.items() if (k := s if name.startswith("spk2") else u) in table})
    trials = calibration_trials(utt2spk, seconds, labels, draw)
    kept = held.keys() if whole else {*trials.enroll_ids, *trials.test_ids}
    Contents.read(data_dir).select(kept).write(out_dir)
    write_trials(out_dir / "trials", trials)
    write_table(out_dir / "held_out", copies | held)
    logging.info("%s: %s of %d speakers", out_dir / "trials", trials.summary(), len(speakers))


if __name__ == "__main__":
    run_step(make_calibration_trials)
