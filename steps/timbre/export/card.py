"""The card of a pack: what it was trained and tested on, its errors and licence, for pack.json and README.md."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timbre.decision.pack_page import TERMS
from timbre.evaluation.results_page import table
from timbre.export.onnx_graph import OPSET
from timbre.nnet.model import read_config
from timbre.utils.documents import read_json
from timbre.utils.errors import DataError
from timbre.utils.escape import escaped

_FIELDS = ("eer", "eer_ci", "num_target", "num_nontarget", "num_speakers")
_DURATION = "dur"  # what analyze_trials.py calls groups by the shorter side's seconds
_TRAINING = ("num_steps", "batch_size", "lr")

Card = dict[str, Any]


def make_card(name: str, decision: Path, run: Path | None, tables: Mapping[str, Any], licence: str) -> Card:
    """The card of the decision pack DECISION, without the loss of its variants.

    Args:
        name: of the pack
        decision: what make_decision_pack.py wrote
        run: the exp/NAME that it is of, whose results.json and analysis/ are taken over; None: there is none
        tables: settings of `decision_tables`
        licence: of the weights, where nothing in the pack says it
    """
    config = read_config(decision / "model")
    origin = config.get("origin") if isinstance(config.get("origin"), dict) else None
    terms = {one: (decision / "model" / one).read_text(encoding="utf-8") for one in TERMS
             if (decision / "model" / one).is_file()}  # fmt: skip
    train: Any = config.get("train")
    train = train if isinstance(train, dict) else {}
    network = config["network"]
    calibration = tables["calibration"]
    first = tables["points"][0] if tables["points"] else {}
    return {
        "name": name,
        "network": {
            "trunk": _class(network.get("trunk")),
            "pooling": _class(network.get("pooling")),
            "embedding_dim": network.get("embedding_dim"),
        },
        "trained_on": {
            "speakers": config.get("num_speakers"),
            "objective": _class(config.get("objective")),
            **{key: train[key] for key in _TRAINING if key in train},
            "origin": origin,
        },
        "calibrated_on": calibration.get("trained_on", {}),
        "thresholds_tested_on": {
            "targets": first.get("miss", {}).get("trials"),
            "nontargets": first.get("false_alarm", {}).get("trials"),
            "ranges": tables["tested"],
        },
        "results": _results(run),
        "by_condition": [
            {"name": one["name"], "speakers": one["speakers"], "eer": one["eer"]} for one in tables["conditions"]
        ],
        "by_duration": _durations(run),
        "least_speech": {"seconds": tables["min_speech"], "measured": tables["speech"]},
        "licence": (origin or {}).get("licence") or licence,
        "non_commercial": bool((origin or {}).get("non_commercial", False)),
        "terms": terms,
        "variants": {},
    }


def _class(part: Any) -> str | None:
    name = part.get("class_path") if isinstance(part, dict) else part
    return str(name).rpartition(".")[2] if name else None


def _results(run: Path | None) -> list[dict[str, Any]]:
    if run is None or not (path := run / "results.json").is_file():
        return []
    return [
        {"trials": one["trials"], "backend": one["backend"], **{key: one.get(key) for key in _FIELDS}}
        for one in _records(path)
    ]


def _durations(run: Path | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in sorted((run / "analysis").glob("*.json")) if run is not None else []:
        content = read_json(path)
        if not isinstance(content, dict) or not isinstance(content.get("groups"), list):
            raise DataError("not what analyze_trials.py wrote", path)
        found += [
            {"trials": content.get("trials"), "backend": content.get("backend"), "seconds": group["group"]}
            | {key: group.get(key) for key in _FIELDS}
            for group in content["groups"]
            if group.get("condition") == _DURATION
        ]
    return found


def _records(path: Path) -> list[dict[str, Any]]:
    content, wanted = read_json(path), {"trials", "backend"}
    if not isinstance(content, list) or not all(isinstance(one, dict) and wanted <= set(one) for one in content):
        raise DataError("not what make_results.py wrote", path)
    return content


def card_page(card: Card, settings: Mapping[str, Any]) -> str:
    """CARD as Markdown."""
    network, trained, calibrated = card["network"], card["trained_on"], card["calibrated_on"]
    front = settings["front"]
    features = front["features"]
    lines = [
        f"# {escaped(card['name'])}",
        "A pack of Timbre for speaker recognition: it tells whether two recordings are of one speaker, with a "
        "probability, and says so where it cannot tell.",
        "    import timbre\n    voice = timbre.load(PACK)\n    voice.verify(\"enroll.wav\", \"test.wav\")",
        "## What it is",
        f"Network: {network['trunk']}, {network['pooling']}, embeddings of {settings['dim']} dimensions, of sound at "
        f"{settings['rate']} Hz ({str(features['class_path']).rpartition('.')[2]}). Speech is found "
        + ("by energy, in the graph." if settings["vad"] == "energy" else f"by {front['silero']} (silero-vad, MIT "
           "licence), outside of the graph: `model.onnx` takes its decision as the input `voiced`."),
        _trained(trained),
        f"Calibrated on {escaped(str(calibrated.get('trials', 'a list of its own')))}: "
        f"{calibrated.get('speakers', '?')} speakers, {calibrated.get('targets', '?')} target and "
        f"{calibrated.get('nontargets', '?')} nontarget trials.",
        "## Licence",
        f"{escaped(card['licence'])}." + (" **Not for commercial use.**" if card["non_commercial"] else ""),
        *(text.strip() for name, text in card["terms"].items() if name != "LICENSE"),
        "## Files",
        "- `model.onnx`: `samples` (B, N) float32 in [-1, 1), or `pcm` (B, N) int16, at the rate above and of one "
        "length -> `embedding` (B, dim); NaN where there is no speech\n"
        "- `front.onnx`: samples, laid in frames -> features and log energies of the frames\n"
        "- `model_feats.onnx`: normalised features (B, T, dim) of speech -> `embedding`\n"
        "- `arrays.npz`, `pack.json`: mean, transforms, PLDA, cohort, calibration, thresholds, this card",
        f"The graphs are of ONNX opset {OPSET}, without external data." + _bands(front["audio"]),
    ]  # fmt: skip
    if card["results"]:
        lines += ["## Errors by list", _table(card["results"], ("trials", "backend"))]
    if card["by_condition"]:
        rows = [[escaped(one["name"]), str(one["speakers"]), f"{100 * one['eer']:.2f}"] for one in card["by_condition"]]
        text = "Speakers of the calibration, whose recordings were changed (`conf/condition/`)."
        lines += ["## Errors by condition", text, table(["recordings", "speakers", "EER %"], rows)]
    if card["by_duration"]:
        lines += [
            "## Errors by seconds of the shorter side",
            _table(card["by_duration"], ("trials", "backend", "seconds")),
        ]
    if card["variants"]:
        lines += ["## Variants", _variants(card["variants"])]
    lines += [
        "## What to take care of",
        f"Recordings with less than {settings['min_speech']:g} s of speech get no answer. Error rates are of speech "
        "like that of the lists above: for another language, channel or length, calibrate on recordings of your own "
        "(`timbre calibrate`). A voice can be imitated, recorded and synthesised; this pack does not notice.",
    ]  # fmt: skip
    return "\n\n".join(lines) + "\n"


def _bands(audio: Mapping[str, Any] | None) -> str:
    """What has to be done to sound before it is given to the graphs, as `timbre` does it."""
    bands = [f"of {one['low']:g} to {one['high']:g} Hz, order {one['order']}" for one in (audio or {}).get("bands", [])]
    text = ", then one ".join(bands)
    return f" They take sound that has gone through a causal Butterworth band-pass {text}." if text else ""


def _trained(trained: Mapping[str, Any]) -> str:
    if origin := trained["origin"]:
        return f"The weights are from {escaped(str(origin['toolkit']))} ({escaped(str(origin['file']))})."
    told = f"{trained['speakers']} speakers" if trained["speakers"] else "speakers that are not counted in it"
    return f"Trained on {told}" + (f" with {trained['objective']}." if trained["objective"] else ".")


def _table(rows: list[dict[str, Any]], names: tuple[str, ...]) -> str:
    lines = []
    for one in rows:
        rate = "" if one["eer"] is None else f"{100 * one['eer']:.2f}"
        if one.get("eer_ci"):
            rate += " [{:.2f}, {:.2f}]".format(*(100 * end for end in one["eer_ci"]))
        sizes = [str(one.get(key, "")) for key in ("num_speakers", "num_target", "num_nontarget")]
        lines.append([*(escaped(str(one[name])) for name in names), *sizes, rate])
    return table([*names, "speakers", "targets", "nontargets", "EER % [95 %]"], lines)


def _variants(variants: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, one in variants.items():
        eer = "" if one.get("eer") is None else f"{100 * one['eer']:.3f}"
        gap = "" if one.get("score_difference") is None else f"{one['score_difference']:.2g}"
        error = "" if one.get("embedding_error") is None else f"{one['embedding_error']:.1e}"
        told = escaped(str(one.get("measured_on", "")))
        change = ""
        if one.get("eer_change_ci") is not None and name != "fp32":
            change = "{:+.2f} [{:+.2f}, {:+.2f}]".format(
                *(100 * value for value in (one["eer_change"], *one["eer_change_ci"]))
            )
        rows.append([name, f"{one['bytes'] / 1e6:.2f}", error, eer, change, gap, told])
    names = ["weights", "MB", "embeddings, relative", "EER %", "beside fp32 [95 %]", "scores, mean difference"]
    return table([*names, "measured on"], rows)
