"""What `timbre calibrate` says of recordings and of the pack that it fitted: text, JSON, and the new pack's card."""

from collections.abc import Mapping
from typing import Any

from timbre.people.own_calibration import Group, OwnCalibration
from timbre.people.own_recordings import Recordings
from timbre.runtime.pack_zip import seal
from timbre.runtime.thresholds import ErrorRate, OperatingPoint, entries

_SHOWN = 20  # files of a kind of trouble that are listed in text
CARD = "README.md"


def report_text(recordings: Recordings, fitted: OwnCalibration) -> str:
    """For a person."""
    lines = [
        f"{fitted.recordings:,} recordings of {fitted.speakers:,} speakers: {fitted.targets:,} pairs of one speaker,"
        f" {fitted.nontargets:,} of two.",
        f"Cllr {fitted.before:.3f} bits as the pack was, {fitted.after:.3f} fitted to them (of speakers not fitted to;"
        " 1 is of no use, 0 never wrong).",
    ]
    for title, listed in (("Left out", recordings.left_out), ("To be looked at", recordings.doubts)):
        if listed:
            lines += ["", f"{title} ({len(listed)}):", *(f"  {path}: {text}" for path, text in listed[:_SHOWN])]
            lines += [f"  ... and {len(listed) - _SHOWN} more"] * (len(listed) > _SHOWN)
    lines += ["", "Thresholds on the log-likelihood ratio, and errors to expect (95 % intervals over speakers):"]
    lines += [f"  {_point(point)}" for point in fitted.points]
    lines += [f"  {what}: not promised: {why}" for what, why in fitted.refused]
    lines += ["", "Errors at even odds, by the shorter recording of a pair and by format:"]
    lines += [f"  {_group(group)}" for group in fitted.groups]
    if fitted.wanted:
        lines += ["", "For closer intervals:", *(f"  {text}" for text in fitted.wanted)]
    return "\n".join(lines)


def report_content(recordings: Recordings, fitted: OwnCalibration) -> dict[str, Any]:
    """The same for programs."""
    return {
        "speakers": fitted.speakers, "recordings": fitted.recordings, "targets": fitted.targets,
        "nontargets": fitted.nontargets, "cllr_before": fitted.before, "cllr": fitted.after,
        "left_out": [{"what": what, "why": why} for what, why in recordings.left_out],
        "doubts": [{"what": what, "why": why} for what, why in recordings.doubts],
        "points": entries(fitted.points),
        "refused": [{"what": what, "why": why} for what, why in fitted.refused],
        "groups": [
            {"name": one.name, "speakers": one.speakers, **{
                name: _plain(rate) for name, rate in (("miss", one.miss), ("false_alarm", one.false_alarm))
            }} for one in fitted.groups
        ],
        "wanted": list(fitted.wanted),
    }  # fmt: skip


def fitted_pack(
    pack: Any, fitted: OwnCalibration, min_speech: float | None = None
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Settings and members of PACK with the new calibration, which its card tells, and MIN_SPEECH where it is given."""
    settings = dict(pack.settings)
    members = {name: pack.bytes(name) for name in settings["files"]}
    settings |= {
        "calibration": fitted.calibration.content(),
        "points": entries(fitted.points),
        "tested": {name: list(ends) for name, ends in fitted.tested.items()},
        "conditions": [],
        "min_speech": settings["min_speech"] if min_speech is None else min_speech,
        "card": {
            **settings.get("card", {}),
            "fitted": {
                "speakers": fitted.speakers, "recordings": fitted.recordings, "cllr": fitted.after,
                "cllr_before": fitted.before, "from": pack.checksum,
            },
        },
    }  # fmt: skip
    lines = [
        "", "## Fitted to own recordings", "",
        f"Calibration and thresholds of this pack are fitted to {fitted.recordings:,} recordings of"
        f" {fitted.speakers:,} speakers (Cllr {fitted.before:.3f} bits before, {fitted.after:.3f} after); what is said"
        " above of errors is of the pack that it was made from.", "",
        *(f"- {_point(point)}" for point in fitted.points), "",
    ]  # fmt: skip
    members[CARD] = members.get(CARD, b"").rstrip() + "\n".join(["", *lines]).encode()
    seal(settings, members)
    return settings, members


def _point(point: OperatingPoint) -> str:
    enough = "" if point.word == "yes" else f" ({point.word.removeprefix('no: ')})"
    kind = "prior" if point.kind == "prior" else "false-alarm rate"
    return (
        f"{kind} {point.value:g}: {point.threshold:.2f}, misses {point.miss}, false alarms {point.false_alarm}{enough}"
    )


def _group(group: Group) -> str:
    if group.miss is None or group.false_alarm is None:
        return f"{group.name}: {group.speakers} speakers, too few to say"
    return f"{group.name}: misses {group.miss}, false alarms {group.false_alarm} ({group.speakers} speakers)"


def _plain(rate: ErrorRate | None) -> Mapping[str, Any] | None:
    return None if rate is None else {"rate": rate.rate, "low": rate.low, "high": rate.high, "trials": rate.trials}
