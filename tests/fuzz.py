"""Mutated files into every reader: only DataError may come out, in bounded time and memory.

    python tests/fuzz.py --cases 100000 --seed 1        # prints counts, and each new way to fail with the file that did

test_fuzz.py runs some of it. Everything happens in this process; a reader that hangs is stopped by an alarm.
"""

import argparse
import io
import json
import logging
import random
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "steps"))

from timbre.backend.backends import read_backend
from timbre.datadir.ark import read_ark, read_mat, read_shape, read_vectors, write_vectors
from timbre.datadir.datadir import DataDir
from timbre.datadir.rttm import read_rttm, read_uem
from timbre.datadir.tables import read_ids, read_lists, read_numbers, read_table
from timbre.datadir.trials import Trials, read_scores, read_trials, write_scores, write_trials
from timbre.decision.calibration import Calibration
from timbre.decision.pack import DecisionPack, read_points
from timbre.egs.egs_format import Manifest
from timbre.embedding.embedder import Front
from timbre.feats.options import FbankOptions
from timbre.feats.vad import VadOptions
from timbre.nnet import checkpoint
from timbre.nnet.model import read_config as read_model_config
from timbre.nnet.network import build_network
from timbre.runtime.llr import Term
from timbre.utils.configure import read_config
from timbre.utils.documents import read_json, read_yaml
from timbre.utils.errors import DataError

MEMORY = 3 << 30  # bytes of address space beyond what is there when the cases begin
SECONDS = 5  # for one case
WORDS = [
    b"0", b"-1", b"1e308", b"nan", b"inf", b"-.inf", b"1_0", b"999999999999999999999", b"\xef\xbb\xbf", b"\r\n", b"\0",
    b"[", b"{", b"]", b"}", b"&a ", b"*a", b"<<: ",
    b": ", b"- ", b"null", b"true", b"\xff\xfe", b" ", b"\t", b"\n", b"\n\n",
    b"\0B", b"FM ", b"FV ", b"DM ", b"CM ", b"CM2 ", b"CM3 ", b"\4\xff\xff\xff\x7f", b"\4\0\0\0\0", b"'", b'"',
    b"|", b"$(x)", b":9999999", b"[0:3]", "é\u2028".encode(), b"class_path", b"init_args", b"(", b"),", b"target",
    b"nontarget", b"<NA>",
]  # fmt: skip
Reader = Callable[[Path], object]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """DATA with one to four changes: bytes flipped, cut, repeated, replaced by something that has hurt before."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        size = len(out)
        at, end = sorted((rng.randrange(size + 1), rng.randrange(size + 1)))
        end = min(end, at + rng.choice((1, 4, 16, 1 << 20)))
        kind = rng.randrange(8)
        if kind == 0 and size:
            out[rng.randrange(size)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at:end] = b""
        elif kind == 2:
            out[at:at] = rng.choice(WORDS)
        elif kind == 3:
            out[at:end] = rng.choice(WORDS)
        elif kind == 4:
            out[at:at] = out[at:end] * rng.choice((1, 2, 50))
        elif kind == 5:
            out[at:end] = rng.randbytes(min(end - at, 16))
        elif kind == 6:
            out[at:at] = rng.choice(WORDS) * rng.choice((3, 200, 3000))
        else:
            del out[at:]
    return bytes(out)


def write_seeds(folder: Path) -> list[tuple[str, bytes, Reader]]:
    """(name, a good file, what reads it), of every kind of file that people may pass on."""
    rng = np.random.default_rng(0)
    ids = [f"s{number // 3}-u{number}" for number in range(9)]
    write_vectors(folder / "x", ids, rng.normal(size=(9, 4)).astype(np.float32))
    trials = Trials.of(ids[:8], ids[1:], [ids[row][:2] == ids[row + 1][:2] for row in range(8)])
    for name in ("trials", "trials.npz"):
        write_trials(folder / name, trials)
    scores = rng.normal(size=8)
    for name in ("scores", "scores.npy"):
        write_scores(folder / name, trials, scores)
    Front(FbankOptions(), VadOptions()).write(folder / "front.yaml")
    Calibration(0.1, (Term("score", "score", 1.0),), 0.5, {"targets": 5, "nontargets": 9}).write(folder / "cal.yaml")
    network = {"trunk": {"class_path": "XvectorTdnn", "init_args": {"channels": [4, 4, 4, 4, 6]}},
               "pooling": "StatisticsPooling", "embedding_dim": 3}  # fmt: skip
    model = {"network": network, "feat_dim": 5, "normalize": {"cmn": "sliding"}}
    content = io.BytesIO()
    torch.save({"network": build_network(network, 5).state_dict(), "steps": [1]}, content)
    rate = {"rate": 0.1, "errors": 3, "trials": 30, "low": 0.05, "high": None}
    points = [{"kind": "prior", "value": 0.5, "threshold": 0.0, "miss": rate, "false_alarm": rate}]
    ark = {"name": "a", "examples": 1, "frames": 2, "key_bytes": 3, "num_bytes": 4, "sha256": "x", "labels_sha256": "y"}
    counts = ("seed", "feat_dim", "num_speakers", "num_examples", "num_frames", "num_utterances", "num_too_short")
    counts += ("num_unused", "num_valid_speaker_utts")
    manifest = {"version": 1, "data_dir": "d", "options": {"min_frames": 30, "max_frames": 40}, "valid_utts": ["a"],
                "normalize": {"cmn": "none"}, "valid_speakers": [], "train": [ark], "valid": [ark],
                **dict.fromkeys(counts, 3)}  # fmt: skip
    backend = {"model": {"class_path": "Cosine"}, "parts": [{"files": ["mean.vec"], "length": "unit"}]}
    mean = folder / "mean.vec"
    mean.write_bytes(b"\0BFV \4\4\0\0\0" + rng.normal(size=4).astype("<f4").tobytes())
    plda = (
        b"\0B<Plda> DV \4\2\0\0\0" + bytes(16) + b"DM \4\2\0\0\0\4\2\0\0\0" + bytes(32) + b"DV \4\2\0\0\0" + bytes(16)
    )
    plda += b"</Plda> "
    matrix = b"\0BFM \4\3\0\0\0\4\2\0\0\0" + bytes(24)
    compressed = b"\0BCM \0\0\0\0\0\0\x80?\3\0\0\0\2\0\0\0" + bytes(22)
    text = {
        "table": b"a1 x y\na2 z\nb 3\n", "lists": b"a u1 u2\nb u3\n", "numbers": b"a 1.5\nb 2\n",
        "rttm": b"SPEAKER r 1 0.0 1.5 <NA> <NA> a <NA> <NA>\nSPEAKER r 1 2 1 <NA> <NA> b <NA> <NA>\n",
        "uem": b"r 1 0 10\n", "text.ark": b"a  [\n 1 2 3\n 4 5 6 ]\nb  [ 1 2 ]\n",
        "mats.ark": b"a " + matrix + b"b " + compressed + b"c \0B\4\2\0\0\0\4\1\0\0\0\4\2\0\0\0",
    }  # fmt: skip

    def in_folder(name: str, read: Callable[[Path], object]) -> Reader:
        """READ of a folder where NAME is the file."""

        def reader(path: Path) -> object:
            place = path.parent / f"in_{read.__name__}_{name}"
            place.mkdir(exist_ok=True)
            for other in ("mean.vec",):
                (place / other).write_bytes(mean.read_bytes())
            (place / name).write_bytes(path.read_bytes())
            return read(place)

        return reader

    def vectors_of(path: Path) -> object:
        return read_vectors(path), list(read_ark(path))

    def matrices_of(path: Path) -> object:
        return list(read_ark(path))

    def of_scp(path: Path) -> object:
        table = read_table(path)
        return read_vectors(path), [(read_mat(rx), read_shape(rx)) for rx in table.values()]

    tables = {"wav.scp": b"a1 a.wav\na2 a.wav\nb sox a.wav -t wav - |\n", "utt2spk": b"a1 a\na2 a\nb b\n"}

    def tables_of(folder: Path) -> object:
        for name, table in tables.items():
            if not folder.name.endswith(name):
                (folder / name).write_bytes(table)
        data = DataDir.read(folder)
        return [data.recording_of(utt) for utt in data.utts]

    def pack_of(folder: Path) -> object:
        for name in ("thresholds.yaml", "calibration.yaml"):
            (folder / name).write_bytes(packed[name])
        (folder / "backend").mkdir(exist_ok=True)
        (folder / "backend" / "mean.vec").write_bytes(mean.read_bytes())
        return DecisionPack.read(folder)

    def network_of(path: Path) -> object:
        config = read_model_config(path.parent)
        return build_network(config["network"], config["feat_dim"])

    packed = {"thresholds.yaml": dump(points), "calibration.yaml": (folder / "cal.yaml").read_bytes()}
    settings = {"measures": [], "top_n": None, "min_speech": 1.0, "about": {"model": "x"}}
    return [
        *((name, text[name], read) for name, read in (("table", read_table), ("lists", read_lists))),
        ("table", text["table"], read_ids), ("numbers", text["numbers"], read_numbers),
        ("rttm", text["rttm"], read_rttm), ("uem", text["uem"], read_uem),
        ("segments", b"a1 a1 0 1.5\na2 a2 0.5 2\nb b 0 -1\n", in_folder("segments", tables_of)),
        ("utt2spk", b"a1 a\na2 a\nb b\n", in_folder("utt2spk", tables_of)),
        ("x.ark", (folder / "x.ark").read_bytes(), vectors_of), ("x.scp", (folder / "x.scp").read_bytes(), of_scp),
        ("text.ark", text["text.ark"], matrices_of), ("mats.ark", text["mats.ark"], matrices_of),
        ("trials", (folder / "trials").read_bytes(), read_trials),
        ("trials.npz", (folder / "trials.npz").read_bytes(), read_trials),
        ("scores", (folder / "scores").read_bytes(), lambda path: read_scores(path, trials)),
        ("scores.npy", (folder / "scores.npy").read_bytes(), lambda path: read_scores(path, trials)),
        ("conf.yaml", dump(network), read_config), ("conf.yaml", dump(network), read_yaml),
        ("m.json", json.dumps(manifest).encode(), read_json),
        ("manifest.json", json.dumps(manifest).encode(), lambda path: Manifest.read(path.parent)),
        ("front.yaml", (folder / "front.yaml").read_bytes(), Front.read),
        ("cal.yaml", packed["calibration.yaml"], Calibration.read),
        ("points.yaml", packed["thresholds.yaml"], read_points),
        ("config.yaml", dump(model), network_of), ("pack.yaml", dump(settings), in_folder("pack.yaml", pack_of)),
        ("backend.yaml", dump(backend), in_folder("backend.yaml", read_backend)),
        ("mean.vec", mean.read_bytes(), in_folder("mean.vec", read_backend)),
        ("plda", plda, in_folder("plda", read_backend)), ("final.pt", content.getvalue(), checkpoint.load),
    ]  # fmt: skip


def dump(content: object) -> bytes:
    return yaml.safe_dump(content, sort_keys=False).encode()


class Hang(BaseException):
    """A reader took longer than SECONDS; no `except Exception` may catch it."""


def _stop(*_: object) -> None:
    raise Hang


def fuzz(cases: int, seed: int, seconds: float | None = None) -> tuple[Counter[str], dict[str, tuple[str, bytes]]]:
    """(what came of the cases, by outcome; each way to fail -> the traceback and the file), over at most SECONDS."""
    import time

    rng, counts, failures = random.Random(seed), Counter[str](), dict[str, tuple[str, bytes]]()
    began = time.monotonic()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place:
        folder = Path(place)
        seeds = write_seeds(folder)
        for _name, _data, read in seeds:  # everything is imported before memory is bounded
            (folder / _name).write_bytes(_data)
            read(folder / _name)
        before = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
        old = signal.signal(signal.SIGALRM, _stop)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for case in range(cases):
                    if seconds is not None and time.monotonic() - began > seconds:
                        break
                    name, data, read = seeds[case % len(seeds)]
                    changed = mutated(data, rng)
                    (folder / name).write_bytes(changed)
                    outcome = _outcome(read, folder / name)
                    counts[outcome[0]] += 1
                    if outcome[0] not in ("read", "refused"):
                        failures.setdefault(f"{name}: {outcome[0]}", (outcome[1], changed))
                    (folder / name).write_bytes(data)
        finally:
            signal.signal(signal.SIGALRM, old)
            resource.setrlimit(resource.RLIMIT_AS, before)
            logging.disable(logging.NOTSET)
    return counts, failures


def _outcome(read: Reader, path: Path) -> tuple[str, str]:
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        read(path)
    except DataError as error:
        return ("two lines", str(error)) if "\n" in str(error) else ("refused", "")
    except (Exception, Hang) as error:
        where = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in where if "/timbre/" in frame.filename] or where
        place = f"{Path(ours[-1].filename).name}:{ours[-1].name}"
        return f"{type(error).__name__} in {place}", "".join(traceback.format_exception(error))[-1500:]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "read", ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, help="stop after so many")
    options = parser.parse_args()
    counts, failures = fuzz(options.cases, options.seed, options.seconds)
    for name, (text, data) in failures.items():
        print(f"== {name}\n{text}\n{data[:300]!r}")
    print(json.dumps({"cases": counts.total(), "seed": options.seed, **counts}))
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
