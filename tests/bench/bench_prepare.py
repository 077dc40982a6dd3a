#!/usr/bin/env python3
"""Preparation of all of VoxCeleb1 and 2: local/prepare_voxceleb.py on as many files as are published, 1,245,525.

Prints one JSON line. The tree has the published numbers of speakers, videos and utterances, every file a real one of a
tenth of a second (a hard link to one of 400), and trial lists of the published lengths. Measured from outside: wall and
CPU seconds, peak memory, and the most child processes at a time. Counted: what it wrote. The tree goes again; it needs
0.8 GB for folders while it is there. FRACTION of the speakers makes a smaller one.

    python tests/bench/bench_prepare.py [WORK_DIR [FRACTION]]
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path += [str(ROOT), str(ROOT / "tests")]

from corpus_tree import audio  # noqa: E402
from local.prepare_voxceleb import LISTS, PUBLISHED  # noqa: E402

MOST_MINUTES, MOST_MB = 10, 2000  # limits: a short break, and a small part of any machine that trains on so much
LINKED = 400  # files that all others are links to: ext4 allows 65,000 of each
VIDEOS = {"vox1_dev": 21819, "vox1_test": 677, "vox2_dev": 145569, "vox2_test": 4911}  # published, as the counts
FOLDERS = {"vox1_dev": "vox1/dev/wav", "vox1_test": "vox1/test/wav", "vox2_dev": "vox2/dev/aac"}
TRAIN = "vox2_dev"


def grow(root: Path, fraction: float) -> dict[str, list[str]]:
    """Makes the tree; the utterances <speaker>/<video>/<part> of each part of the corpus."""
    originals = {}
    for suffix in ("wav", "m4a"):
        originals[suffix] = [root / "files" / f"{number}.{suffix}" for number in range(LINKED // 2)]
        for path in originals[suffix]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(audio(suffix))
    utts: dict[str, list[str]] = {}
    metas: dict[str, list[str]] = {
        "vox1": ["VoxCeleb1 ID\tName\tGender\tSet"],
        "vox2": ["VoxCeleb2 ID ,Name ,Gender ,Set "],
    }
    for part, folder in FOLDERS.items():
        corpus, kind = part.split("_")
        suffix, separator = ("wav", "\t") if corpus == "vox1" else ("m4a", " ,")
        speakers, number = (max(round(count * fraction), 2) for count in PUBLISHED[part])
        videos = max(round(VIDEOS[part] * fraction), speakers)
        first = {"vox1_dev": 10001, "vox1_test": 12001, "vox2_dev": 0}[part]
        utts[part] = []
        for video in range(videos):  # each with its share of the utterances, each speaker with a share of the videos
            spk = f"id{first + video * speakers // videos:05d}"
            place = f"{spk}/{np.base_repr(video + 36**5, 36):0>11}"
            os.makedirs(root / folder / place)
            for utt in range(video * number // videos, (video + 1) * number // videos):
                name = f"{place}/{utt % 100000:05d}"
                os.link(originals[suffix][utt % (LINKED // 2)], f"{root}/{folder}/{name}.{suffix}")
                utts[part].append(name)
        rows = [separator.join((f"id{first + spk:05d}", f"n{spk}", "fm"[spk % 2], kind)) for spk in range(speakers)]
        metas[corpus] += rows
    for corpus, rows in metas.items():
        (root / f"{corpus}_meta.csv").write_text("\n".join(rows) + "\n")
    shutil.rmtree(root / "files")
    return utts


def draw_lists(root: Path, utts: dict[str, list[str]]) -> None:
    """Trial lists as long as the published ones, of random pairs."""
    rng = np.random.default_rng(0)
    for name, (file, count) in LISTS.items():
        known = utts["vox1_test"] if name.startswith("trials_o") else utts["vox1_dev"] + utts["vox1_test"]
        pairs = rng.integers(0, len(known), (count, 2)).tolist()
        with (root / file).open("w") as out:
            for one, other in ((known[a], known[b]) for a, b in pairs):
                out.write(f"{int(one[:7] == other[:7])} {one}.wav {other}.wav\n")


def watched(command: list[str | Path]) -> dict[str, float]:
    """Runs COMMAND: seconds, CPU seconds, MB at most, and children that it had at most at a time."""
    began, children, peak = time.perf_counter(), 0, 0
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        while (done := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            try:  # ru_maxrss would count this process too, which the other begins as
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])
                for tasks in Path(f"/proc/{process.pid}/task").glob("*/children"):
                    children = max(children, len(tasks.read_text().split()))
            except (OSError, IndexError):  # just ended
                pass
            time.sleep(0.02)
        process.returncode = os.waitstatus_to_exitcode(done[1])
    if process.returncode:
        sys.exit(f"{command[0]} failed")
    usage = done[2]
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": round(peak / 1024),
        "children": children,
    }


def lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def main() -> None:
    work_dir = sys.argv[1] if len(sys.argv) > 1 else None
    fraction = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    with tempfile.TemporaryDirectory(dir=work_dir) as name:
        root, out = Path(name) / "corpus", Path(name) / "out"
        began = time.perf_counter()
        utts = grow(root, fraction)
        draw_lists(root, utts)
        grown = time.perf_counter() - began
        partial = ["--partial", "true"] if fraction != 1 else []
        prepared = watched([ROOT / "local" / "prepare_voxceleb.py", root, out, *partial])
        validated = watched([ROOT / "steps" / "validate_data_dir.py", out / "train"])
        wanted = {"train": len(utts[TRAIN]), "eval_vox1": len(utts["vox1_dev"]) + len(utts["vox1_test"])}
        found = {part: lines(out / part / "wav.scp") for part in wanted}
        trials = {name: lines(out / "eval_vox1" / name) for name in LISTS}
        if found != wanted or trials != {name: count for name, (_, count) in LISTS.items()}:
            sys.exit(f"written: {found} and {trials}; there are {wanted}")
        if not os.path.samefile(*_first_and_its_file(out / "train" / "wav.scp", root)):
            sys.exit("wav.scp does not lead to the file")
    report = {
        "bench": "prepare",
        "files": sum(wanted.values()),
        "trials": sum(trials.values()),
        "tree_seconds": round(grown, 1),
        "prepare": prepared,
        "validate": validated,
        "files_per_second": round(sum(wanted.values()) / prepared["seconds"]),
        "limits": {"minutes": MOST_MINUTES, "peak_mb": MOST_MB, "children": 0},
        "ok": prepared["seconds"] < 60 * MOST_MINUTES and prepared["peak_mb"] < MOST_MB and not prepared["children"],
    }
    print(json.dumps(report))


def _first_and_its_file(scp: Path, root: Path) -> tuple[str, Path]:
    """The place in the first line of a wav.scp, and where the id of that line says that it is."""
    with scp.open(encoding="utf-8") as file:
        utt, place = file.readline().split()
    spk, video, part = utt.split("-")
    return place, root / FOLDERS[TRAIN] / spk / video / f"{part}.m4a"


if __name__ == "__main__":
    main()
