"""Training of a whole back-end, a chain of transforms and a model. Called by the steps that train one."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from timbre.backend.backends import Backend, CosineBackend, PldaBackend, PldaScoring
from timbre.backend.model_kinds import Model
from timbre.backend.speaker_stats import SpeakerStats
from timbre.backend.transforms import Transform
from timbre.backend.vectors import Embeddings, Projection, Side
from timbre.utils.configure import Configured, check, choose, read_config
from timbre.utils.errors import DataError

log = logging.getLogger(__name__)

_KEYS = ("transforms", "model", "scoring")


def train_backend(train_scp: Path, utt2spk: Path, config: Mapping[str, Any] | Path) -> Backend:
    """The back-end that CONFIG describes, trained on embeddings of known speakers.

    Args:
        train_scp: the embeddings (scp or ark)
        utt2spk: whose they are
        config: a file as conf/backend/*.yaml, or its content: transforms, a list, and model, each of class_path and
            init_args; scoring, the fields of PldaScoring

    Raises:
        DataError: CONFIG names what there is not, or the embeddings do not suffice
    """
    transforms, model, scoring = _read(config)
    embeddings = Embeddings.read(train_scp)
    speakers = embeddings.speakers(utt2spk)
    settings = {"transforms": [one.config for one in transforms], "model": model.config}
    try:
        projection, stats = _train_chain([make() for make in transforms], embeddings, speakers, utt2spk)
        plda = model().train(stats)
    except DataError as error:
        raise DataError(error.message, error.path or train_scp) from error
    log.info("%d dimensions from %d utterances of %d speakers", len(stats.mean), stats.num_utts, stats.num_speakers)
    if plda is None:
        return CosineBackend(projection.before(Projection(length="unit")), settings)
    return PldaBackend(projection, plda, scoring, settings)


def _train_chain(
    transforms: Sequence[Transform], embeddings: Embeddings, speakers: Sequence[str], utt2spk: Path
) -> tuple[Projection, SpeakerStats]:
    """TRANSFORMS, each trained on what those before it make of EMBEDDINGS, and the statistics of what they all make.

    Statistics follow an affine map without another look at the vectors; vectors scaled to a length must be seen.
    """
    chain = pending = Projection()
    side = Side.single(embeddings.ids, embeddings.matrix, embeddings.path)
    stats = SpeakerStats.collect(side.vectors, speakers, utt2spk)
    for transform in transforms:
        trained = transform.train(stats)
        chain, pending = chain.before(trained), pending.before(trained)
        if trained.length == "as_is":
            stats = stats.through(trained)
        else:
            side = replace(side, vectors=pending.apply(side))
            pending = Projection()
            stats = SpeakerStats.collect(side.vectors, speakers, utt2spk)
    return chain, stats


def _read(config: Mapping[str, Any] | Path) -> tuple[list[Configured[Transform]], Configured[Model], PldaScoring]:
    try:
        settings = read_config(config)
        if not set(settings) <= set(_KEYS) or "model" not in settings:
            raise DataError(f"a back-end has model, and perhaps transforms and scoring, not {', '.join(settings)}")
        listed = settings.get("transforms") or []
        if not isinstance(listed, list):
            raise DataError(f"transforms must be a list of class_path and init_args, not {listed!r}")
        transforms = [choose(Transform, one) for one in listed]  # type: ignore[type-abstract]
        model = choose(Model, settings["model"])  # type: ignore[type-abstract]
        return transforms, model, check(PldaScoring, settings.get("scoring") or {}, set())()
    except DataError as error:
        if isinstance(config, Path) and error.path is None:
            raise DataError(error.message, config) from error
        raise
