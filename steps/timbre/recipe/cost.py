"""What a run will take: updates, crops and disk, from its options and the published hours of speech; for --plan.

    python -m timbre.recipe.cost < SETTINGS        # the options of run.sh, as `some-option=value` lines

prints a line each. Time is not foretold: it follows from the examples a second that the log of a training tells.
"""

import math
import sys
from collections.abc import Iterator
from pathlib import Path

from timbre.datadir.tables import read_numbers
from timbre.egs.options import EgsOptions
from timbre.recipe.fine_tuning import FineTuneOptions
from timbre.recipe.plan import Plan
from timbre.recipe.settings import Settings
from timbre.training.options import TrainOptions
from timbre.utils.configure import check, read_config
from timbre.utils.errors import DataError

HOURS = {"voxceleb": 2366.0, "cnceleb": 1364.0}  # of training speech: VoxCeleb2 dev, 1,092,009 utterances of 7.8 s on
# average (Chung et al. 2018); CN-Celeb1 and 2, 274 h and 1,090 h (Li et al. 2022), of which some are to test
RATE, FRAMES = 16000, 100  # samples and frames a second
LARGE = ("voxceleb", "cnceleb")  # more than 100,000 utterances: two bytes a feature


def costs(given: dict[str, str]) -> Iterator[str]:
    """Lines for a person, of the options GIVEN to run.sh; none where the corpus and its hours are not known.

    Raises:
        DataError: a file of options cannot be read
    """
    plan = Plan.of(Settings.read([f"{name}={value}" for name, value in given.items()]))
    layout, settings = plan.layout, plan.layout.settings
    hours = _hours(layout.main.data / "train" / "utt2dur", settings)
    if hours is None or layout.trained is None:
        return
    training = check(TrainOptions, read_config(Path(given["train-conf"])), set())()
    yield f"train: {_updates(training)}"
    tuning = FineTuneOptions.read(Path(settings.fine_tune_conf)) if settings.fine_tune_conf else None
    if tuning:
        yield f"fine-tune: {_updates(tuning.train)}"
    copies = read_config(Path(settings.augment_conf)).get("copies") if settings.augment_conf else None
    number = len(copies) if isinstance(copies, dict) else 0
    two = layout.is_large or (not layout.num_train_utts and settings.corpus in LARGE)
    size = FRAMES * 3600 * settings.feature_dim * (2 if two or settings.compression else 4)
    egs = check(EgsOptions, read_config(Path(settings.egs_conf)), set())()
    disk = {
        "audio of the copies": number * hours * 3600 * RATE * 2,
        "features": (1 + number) * hours * size,
        "examples": (1 + number) * hours * _an_hour(egs, size),
    }
    if tuning and tuning.egs:
        altered = number if tuning.altered_speakers else 0
        disk["examples of fine-tuning"] = (1 + altered) * hours * _an_hour(tuning.egs, size)
    parts = " + ".join(f"{text} {_gigabytes(value)}" for text, value in disk.items() if value)
    yield f"disk, at most: {parts} = {_gigabytes(sum(disk.values()))}, for {hours:,.0f} h of training speech"


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:,.{1 if size < 1e10 else 0}f} GB"


def _hours(table: Path, settings: Settings) -> float | None:
    """Hours of the training set without copies: measured, else published."""
    if table.is_file():
        return math.fsum(read_numbers(table).values()) / 3600
    return HOURS.get(settings.corpus) if settings.dress_rehearsal == "false" else None


def _an_hour(egs: EgsOptions, size: float) -> float:
    """Bytes of the examples of an hour of speech, whose features have SIZE bytes."""
    return egs.num_repeats * (3600 * RATE * 2 if egs.kind == "waveform" else size)


def _updates(options: TrainOptions) -> str:
    if not options.num_steps:
        return f"{options.num_epochs:g} epochs in batches of {options.batch_size}"
    crops = options.num_steps * options.batch_size
    text = f"{options.num_steps:,} updates of {options.batch_size} crops"
    if options.max_frames:
        text += f" of {options.min_frames / FRAMES:g}" + (
            f" to {options.max_frames / FRAMES:g} s" if options.max_frames > options.min_frames else " s"
        )
    return f"{text}, {crops / 1e6:,.1f} million; {crops / 3.6e6:,.1f} h at 1,000 examples a second"


def main() -> None:
    """The command above."""
    try:
        lines = (line.partition("=") for line in sys.stdin.read().splitlines())
        for line in costs({name: value for name, _, value in lines}):
            print(line)
    except DataError as error:
        sys.exit(f"run.sh: error: {error}")


if __name__ == "__main__":
    main()
