"""Explanations on disk: maps as .npz, what they are of as .json, a picture. Called by the steps that explain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from timbre.evaluation.results import write_json
from timbre.explain.explained_score import ExplainedScore
from timbre.explain.layer_shapes import Map
from timbre.explain.map_pictures import Panel, plot_panels
from timbre.explain.methods import Method, make_map
from timbre.explain.time_cells import CellOptions
from timbre.utils.files import atomic_write

WORDS = {
    "gradient": "gradient",
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "layercam": "LayerCAM",
    "fullgrad": "Full-Grad",
    "integrated_gradients": "integrated gradients",
    "occlusion": "occlusion",
}
_STANDS_FOR: dict[str, tuple[str, ...]] = {
    "gradient": ("changes it",),
    "fullgrad": ("contributes, for or against",),
}  # values above 0, below 0
_STANDS_FOR |= dict.fromkeys(("gradcam", "gradcam++", "layercam"), ("speaks for it",))
_STANDS_FOR |= dict.fromkeys(("integrated_gradients", "occlusion"), ("speaks for it", "speaks against it"))


@dataclass(frozen=True)
class Explanation:
    """A number, and a map (num_frames, num_bins) over each utterance that it is of.

    Args:
        explained: the number and its utterances
        method: by which the maps are made
        value: the number
        maps: of each utterance; 0 in frames that the network is not given
        layer: that they are of; "": none
    """

    explained: ExplainedScore
    method: Method
    value: float
    maps: list[Map]
    layer: str

    @classmethod
    def make(
        cls, explained: ExplainedScore, method: Method, layer: str, cells: CellOptions, shift: float
    ) -> "Explanation":
        """By METHOD; the other arguments are those of `make_map`."""
        maps, used, value = [], "", 0.0
        for part, score in zip(explained.parts, explained.of_parts(), strict=True):
            made = make_map(score, method, part.utt, layer, cells, shift)
            maps.append(part.whole(made.values))
            used, value = made.layer, float(score.values(score.inputs[None])[0])
        return cls(explained, method, value, maps, used)

    def write(self, out: Path, shift: float, says: str = "", more: Mapping[str, Any] = {}) -> None:
        """Writes OUT.png, OUT.json and OUT.npz, which of several utterances is OUT_enroll.npz, ..., OUT_test.npz.

        Args:
            out: start of the names
            shift: seconds between frames
            says: what else the title is to say
            more: what else the .json is to hold
        """
        explained = self.explained
        parts, number = explained.parts, f"{self.value:.4g}"
        sides = ["enroll" if count == 0 else f"enroll{count + 1}" for count in range(len(parts) - 1)] + ["test"]
        names = [f"{out.name}_{side}" for side in sides] if len(parts) > 1 else [out.name]
        for part, values, name in zip(parts, self.maps, names, strict=True):
            voiced = part.seen if part.voiced is None else part.voiced
            with atomic_write(out.with_name(f"{name}.npz"), "wb") as file:
                np.savez(file, map=values, feats=part.feats, voiced=voiced, seen=part.seen)
        how = f"{WORDS[self.method]} of {self.layer}" if self.layer else WORDS[self.method]
        title = f"{explained.title}: {number}{says}; {how}"
        panels = [
            Panel(part.utt if len(parts) == 1 else f"{side.rstrip('0123456789')}: {part.utt}", part, values)
            for part, values, side in zip(parts, self.maps, sides, strict=True)
        ]
        plot_panels(panels, out.with_name(f"{out.name}.png"), title, shift, _STANDS_FOR[self.method])
        content = {"title": explained.title, "value": self.value, "method": self.method, "layer": self.layer}
        utts: Sequence[str] = [part.utt for part in parts]
        write_json(out.with_name(f"{out.name}.json"), {**content, "utts": utts, "caption": f"{title}.", **more})
