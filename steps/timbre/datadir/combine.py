"""Several data directories as one."""

import logging
from collections.abc import Mapping
from dataclasses import replace

from timbre.datadir.contents import MODELS, ORIGINALS, Contents, Table, is_complete
from timbre.datadir.trials import Trials, join_trials
from timbre.utils.errors import DataError

logger = logging.getLogger(__name__)


def combine(sources: Mapping[str, Contents]) -> Contents:
    """The lines of all SOURCES together.

    A table that must know every utterance (feats.scp, utt2dur, ...) is left out, with a warning, where a source lacks
    it. Where only some have segments, the others' recordings become segments from beginning to end; where only some
    have utt2uniq, the others' utterances are originals.

    Args:
        sources: name, for messages -> contents

    Raises:
        DataError: no source, an utterance in two of them, two values for one speaker or recording, features of other
            options
    """
    if not sources:
        raise DataError("there is no data directory to combine")
    _check_apart(sources)
    if any("segments" in contents.tables for contents in sources.values()):
        sources = {name: _with_segments(contents) for name, contents in sources.items()}
    if any(ORIGINALS in contents.tables for contents in sources.values()):
        sources = {name: _with_originals(contents) for name, contents in sources.items()}
    tables: dict[str, Table] = {}
    for name in sorted({name for contents in sources.values() for name in contents.tables}):
        lacking = [source for source, contents in sources.items() if name not in contents.tables]
        if lacking and is_complete(name):
            logger.warning("%s is left out, because %s has none", name, lacking[0])
        else:
            tables[name] = _join_tables(name, sources)
    phones = {utt: listed for contents in sources.values() for utt, listed in contents.phones.items()}
    verbatim = _join_verbatim(sources, has_features="feats.scp" in tables)
    return Contents(tables, _join_trials(sources), verbatim, phones)


def _check_apart(sources: Mapping[str, Contents]) -> None:
    owner: dict[str, str] = {}
    for source, contents in sources.items():
        for utt in contents.utt2spk:
            if utt in owner:
                raise DataError(f"utterance '{utt}' is in {owner[utt]} and in {source}; copy one of them with a prefix")
            owner[utt] = source


def _with_segments(contents: Contents) -> Contents:
    if "segments" in contents.tables or "wav.scp" not in contents.tables:
        return contents
    segments = {utt: f"{utt} 0.0 -1" for utt in contents.utt2spk}
    return replace(contents, tables={**contents.tables, "segments": segments})


def _with_originals(contents: Contents) -> Contents:
    if ORIGINALS in contents.tables:
        return contents
    return replace(contents, tables={**contents.tables, ORIGINALS: {utt: utt for utt in contents.utt2spk}})


def _join_tables(name: str, sources: Mapping[str, Contents]) -> Table:
    joined: Table = {}
    for source, contents in sources.items():
        for key, value in contents.tables.get(name, {}).items():
            if joined.setdefault(key, value) != value:
                raise DataError(f"{source} has another value for '{key}' in {name} than the directories before it")
    return joined


def _join_trials(sources: Mapping[str, Contents]) -> dict[str, Trials]:
    having = [contents for contents in sources.values() if contents.trials]
    if len({MODELS in contents.tables for contents in having}) > 1:
        raise DataError(f"only some of {', '.join(sources)} have {MODELS}: their trials cannot be joined")
    lists: dict[str, list[Trials]] = {}
    for contents in having:
        for name, trials in contents.trials.items():
            lists.setdefault(name, []).append(trials)
    return {name: join_trials(parts) for name, parts in lists.items()}


def _join_verbatim(sources: Mapping[str, Contents], *, has_features: bool) -> dict[str, bytes]:
    joined: dict[str, bytes] = {}
    differing = set()
    for source, contents in sources.items():
        for name, data in contents.verbatim.items():
            if joined.setdefault(name, data) != data:
                if has_features:
                    raise DataError(f"{source} has another {name} than the directories before it: features differ")
                differing.add(name)
    return {name: data for name, data in joined.items() if name not in differing}
