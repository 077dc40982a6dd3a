"""Writes packs: graphs, tables, card, as a folder or a .timbre file. Called by export_pack.py.

runtime/pack_file.py reads them.
"""

import importlib.metadata
import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from timbre.decision.pack import DecisionPack
from timbre.decision.pack_page import TERMS
from timbre.embedding.embedder import Front
from timbre.embedding.extract import ExtractOptions
from timbre.export.card import card_page, make_card
from timbre.export.decision_tables import decision_tables
from timbre.export.front_settings import SILERO, front_settings
from timbre.export.integer_network import features_to_fit, with_integer_products
from timbre.export.network_graph import network_model
from timbre.export.sherpa_graph import sherpa_model
from timbre.export.smaller_weights import with_smaller_weights
from timbre.export.variant_loss import measure_variants
from timbre.export.whole_graph import front_model, whole_model
from timbre.nnet.model import load_model
from timbre.runtime.encoder import Encoder
from timbre.runtime.pack_file import ARRAYS, FORMAT, SETTINGS, SUFFIX, VERSION, PackFile
from timbre.runtime.pack_zip import seal, settings_text, write_zip
from timbre.runtime.silero import package_model
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_folder, atomic_write, check_folder

log = logging.getLogger(__name__)

Variant = Literal["fp32", "int8", "int8_weights", "fp16"]
_KIND = "pack file"
_WHOLE, _FRONT, _NETWORK = "model.onnx", "front.onnx", "model_feats.onnx"


def export_pack(
    decision: Path,
    out: Path,
    variants: Sequence[Variant] = ("fp32",),
    name: str = "",
    run: Path | None = None,
    licence: str = "",
    measure_on: Path | None = None,
    num_utts: int = 200,
    sherpa: Path | None = None,
    fit_on: Path | None = None,
) -> None:
    """Writes OUT, whole or not at all; see export_pack.py.

    Raises:
        DataError: DECISION is no decision pack, its network or front has no form that runs without torch
    """
    is_file = out.suffix == SUFFIX
    if is_file and out.is_dir():
        raise DataError("is a folder; a .timbre file is wanted", out)
    if not is_file:
        check_folder(out, _KIND, [decision], SETTINGS)
    fit_on = fit_on or measure_on
    if "int8" in variants and fit_on is None:
        raise DataError("int8 needs recordings to find its ranges on: --fit-on (int8_weights and fp16 do not)")
    pack, front = DecisionPack.read(decision), Front.read(decision / "front.yaml")
    network, normalize = load_model(decision / "model")
    tables, arrays = decision_tables(pack)
    longest = ExtractOptions().max_frames
    settings_of_front, more = front_settings(front, normalize, network.min_frames, longest)
    log.info("exporting the network, which takes from seconds to minutes")
    model = network_model(network)
    settings: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION if front.audio is not None and front.audio.effects else 1,
        "name": name or out.name.removesuffix(SUFFIX),
        "rate": int(front.feats.sample_frequency),
        "dim": network.embedding_dim,
        "vad": "silero" if front.vad.needs_audio else "energy",
        "front": settings_of_front,
        **tables,
        "models": {},
    }
    if sherpa is not None:
        for_sherpa = sherpa_model(model, front.feats, normalize, network.min_frames, network.embedding_dim)
        with atomic_write(sherpa, "wb") as sherpa_file:
            sherpa_file.write(for_sherpa.SerializeToString())
    whole = whole_model(model, front.feats, front.vad, normalize, network.min_frames, longest, network.embedding_dim)
    members = {_FRONT: front_model(front.feats).SerializeToString(), _WHOLE: whole.SerializeToString()}
    members |= {_NETWORK: model.SerializeToString(), ARRAYS: _packed(arrays | more)}
    for term in TERMS:
        if (path := decision / "model" / term).is_file():
            members[term] = path.read_bytes()
    if front.vad.needs_audio:
        members |= {SILERO: package_model().read_bytes(), "LICENSE.silero-vad": _silero_licence()}
    models = settings["models"]
    models["fp32"] = {"front": _FRONT, "network": _NETWORK, "whole": _WHOLE}
    for variant in dict.fromkeys(variants):
        if variant == "fp32":
            continue
        if variant == "int8":
            assert fit_on is not None
            seal(settings, members)
            feats = features_to_fit(Encoder(PackFile(out, settings, members)), fit_on)
            smaller = with_integer_products(model, feats)
        else:
            smaller = with_smaller_weights(model, variant)
        models[variant] = {"front": _FRONT, "network": f"model_feats_{variant}.onnx"}
        members[models[variant]["network"]] = smaller.SerializeToString()
    settings["card"] = card = make_card(settings["name"], decision, run, tables, licence or "not told")
    sizes = {one: len(members[files["network"]]) for one, files in settings["models"].items()}
    card["variants"] = {one: {"bytes": size} for one, size in sizes.items()}
    if measure_on is not None:
        seal(settings, members)
        measured = measure_variants(PackFile(out, settings, members), measure_on, num_utts)
        card["variants"] = {one: {"bytes": size, **measured[one]} for one, size in sizes.items()}
    members["README.md"] = card_page(card, settings).encode()
    seal(settings, members)
    if is_file:
        write_zip(out, settings, members)
    else:
        _write_folder(out, decision, settings, members)
    log.info("%s: %.1f MB", out, sum(map(len, members.values())) / 1e6)


def _packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays, allow_pickle=False)
    return content.getvalue()


def _silero_licence() -> bytes:
    for file in importlib.metadata.files("silero-vad") or []:
        if file.name.upper().startswith("LICENSE"):
            return Path(str(file.locate())).read_bytes()
    raise DataError("the package silero-vad has no licence file, without which its network cannot be passed on")


def _write_folder(out: Path, decision: Path, settings: Mapping[str, Any], members: Mapping[str, bytes]) -> None:
    with atomic_folder(out, _KIND, [decision], SETTINGS) as folder:
        for name, content in {SETTINGS: settings_text(settings), **members}.items():
            (folder / name).write_bytes(content)
