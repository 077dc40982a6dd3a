"""The decision of a pack as a pack file carries it: settings for pack.json, arrays for arrays.npz.

Of a decision pack of the recipe; scorer.py reads them back, without torch.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timbre.backend.backends import CosineBackend, PldaBackend
from timbre.backend.vectors import Projection
from timbre.decision.pack import DecisionPack
from timbre.runtime.thresholds import entries
from timbre.utils.configure import read_config
from timbre.utils.errors import DataError

_SETTINGS = "pack.yaml"


def decision_tables(pack: DecisionPack) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Settings and arrays of PACK: all of its decision, but nothing of its network.

    Smoothing of PLDA is done here; vectors stay float32, what was computed in double precision stays so.

    Raises:
        DataError: its back-end is of a kind that no pack file carries
    """
    backend = pack.scorer.backend
    arrays: dict[str, NDArray[Any]] = {}
    if not isinstance(backend, CosineBackend | PldaBackend):
        raise DataError(f"a pack file has no back-end {type(backend).__name__}", pack.path)
    settings: dict[str, Any] = {
        "kind": "cosine",
        "projection": _projection(backend.projection, arrays),
        "plda": None,
    }
    if isinstance(backend, PldaBackend):
        options = backend.options
        plda = backend.plda.smooth(options.smoothing) if options.smoothing else backend.plda
        arrays |= {"plda_mean": plda.mean, "plda_transform": plda.transform, "plda_psi": plda.psi}
        lengths = {name: getattr(options, name) for name in ("normalize_length", "simple_length_normalization")}
        settings |= {"kind": "plda", "plda": lengths}
    cohort = pack.scorer.cohort
    if cohort is not None:
        arrays["cohort"] = cohort.vectors
    about = read_config(pack.path / _SETTINGS) if (pack.path / _SETTINGS).is_file() else {}
    return {
        "measures": list(pack.measures),
        "min_speech": pack.min_speech,
        "top_n": None if cohort is None else min(pack.scorer.top_n, len(cohort.ids)),
        "backend": settings,
        "calibration": _plain(pack.calibration.content()),
        "points": _plain(entries(pack.points)),
        "tested": {name: list(ends) for name, ends in pack.tested.items()},
        "conditions": _plain(about.get("conditions") or []),
        "speech": _plain(about.get("speech") or []),
    }, arrays


def _projection(first: Projection, arrays: dict[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """The steps of the chain that FIRST begins; their arrays are put into ARRAYS."""
    steps: list[dict[str, Any]] = []
    one: Projection | None = first
    while one is not None:
        names = {}
        for kind in ("mean", "transform"):
            array, name = getattr(one, kind), f"projection{len(steps)}_{kind}"
            names[kind] = None if array is None else name
            if array is not None:
                arrays[name] = np.asarray(array, np.float64)
        steps.append({**names, "length": one.length})
        one = one.then
    return steps


def _plain(content: Any) -> Any:
    """CONTENT as JSON has it: lists for tuples, words for paths, Python's own numbers."""
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if isinstance(content, np.generic):
        return _plain(content.item())
    return str(content) if isinstance(content, Path) else content
