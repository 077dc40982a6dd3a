"""Audio of which nobody has said who speaks: a data directory, or a folder of files.

Called by its front and by plans.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from timbre.audio.effects.sources import root_of
from timbre.audio.reading import AUDIO_SUFFIXES
from timbre.corpora.utt_names import name_utterances
from timbre.datadir.contents import place_from
from timbre.datadir.datadir import DataDir, Segment
from timbre.datadir.tables import read_table
from timbre.utils.errors import DataError


@dataclass(frozen=True)
class Unlabelled:
    """Recordings and, where utterances are parts of them, those.

    wavs: recording -> absolute path, or "cmd |"; segments: utterance -> part; empty: every recording is an utterance
    """

    wavs: dict[str, str]
    segments: dict[str, Segment]

    @classmethod
    def read(cls, folder: Path) -> "Unlabelled":
        """What is in FOLDER: wav.scp and perhaps segments, or audio files at any depth. Speakers are passed over.

        Relative paths of wav.scp start at the working directory or, where that has no such file, at the folder above
        data/.

        Raises:
            DataError: there is no such folder, it is malformed, or there is nothing in it
        """
        if not folder.is_dir():
            raise DataError("no such directory", folder)
        if not any((folder / name).exists() for name in ("wav.scp", "feats.scp", "utt2spk")):
            found = sorted(_files_below(folder))
            if not found:
                raise DataError("neither wav.scp nor any audio file in it", folder)
            return cls({utt: str(folder.resolve() / path) for utt, path in name_utterances(found).items()}, {})
        if not (folder / "wav.scp").exists():
            raise DataError("there is no wav.scp, and adaptation is to audio", folder)
        if not read_table(folder / "wav.scp"):
            raise DataError("the file is empty", folder / "wav.scp")
        data = DataDir.read(folder, need_speakers=False)
        root = root_of(folder, data.wavs.values()).resolve()
        return cls({name: place_from(root, place) for name, place in data.wavs.items()}, data.segments)

    @property
    def utts(self) -> list[str]:
        """Utterance ids in C order."""
        return sorted(self.segments or self.wavs)

    def rates(self, most: int = 100) -> Iterable[tuple[str, int]]:
        """(file, sample rate) of the first MOST recordings, but those that no header tells it of."""
        import soundfile

        for place in islice(self.wavs.values(), most):
            try:
                yield place, int(soundfile.info(place).samplerate)
            except (OSError, RuntimeError):  # a command, a container of video, or what stage 2 will tell of
                continue


def _files_below(folder: Path) -> Iterable[PurePosixPath]:
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.lower().endswith(AUDIO_SUFFIXES) and not name.startswith("."):
                yield PurePosixPath(Path(parent, name).relative_to(folder))
