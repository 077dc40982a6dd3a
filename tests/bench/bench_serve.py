#!/usr/bin/env python3
"""The server of `timbre serve` under load: verifications at the same time, and memory over many requests.

Prints one JSON line. The server is a process of its own (`timbre serve` with --pack; without, people who hum,
tests/runtime/hum_voice.py), which --at-once clients ask for a verdict on two 3-s files each, all at the same time; then
--requests are asked one after another by eight clients: mostly verdicts, every tenth something that is no audio, every
tenth the list of people. `errors`: answers with another status than they should have; `memory_mb`: resident memory of
the server and its decoders at tenths of the requests, `growth`: the last less the third, in per cent (limit 5).
"""

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import soundfile

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = 5.0  # per cent that memory may grow by


def sounds(data: Path | None) -> list[bytes]:
    """Two files of 3 s."""
    if data is None:
        sys.path.insert(0, str(ROOT))
        from tests.runtime.made_people import hum

        waves = [hum(0, 3, 1), hum(0, 3, 2)]
    else:
        waves = [soundfile.read(path, dtype="float32")[0] for path in sorted(data.rglob("*.*"))[:2]]
        waves = [np.resize(wave, 3 * 16000) for wave in waves]
    made = []
    for wave in waves:
        file = io.BytesIO()
        soundfile.write(file, wave, 16000, format="WAV", subtype="PCM_16")
        made.append(file.getvalue())
    return made


def start(pack: str | None, folder: str) -> tuple[subprocess.Popen[str], str]:
    """The server and its address."""
    command = [sys.executable, "-c"]
    if pack is None:
        hums = "import time; from tests.runtime.hum_voice import *\n"
        hums += "if __name__ == '__main__':\n with serving(Limits(rate=1e6, burst=10**6)) as at:\n"
        command += [hums + "  print('open', at, flush=True)\n  time.sleep(1e6)"]
    else:
        run = "import sys; from timbre.people.main import main; sys.exit(main(sys.argv[1:]))"
        command += [run, "serve", pack, "--gallery", f"{folder}/people.db", "--port", "0", "--rate", "1000000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    found = re.search(r"http://[\d.:]+", process.stdout.readline())
    if not found:
        raise SystemExit("the server did not start")
    return process, found[0]


def memory(process: subprocess.Popen[str]) -> float:
    """MB of a process and its children."""
    own = psutil.Process(process.pid)
    return round(sum(one.memory_info().rss for one in (own, *own.children(recursive=True))) / 2**20, 1)


def main() -> None:
    """Prints the JSON line; ends with 1 where there was an error, or memory grew."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pack", help="a .timbre file; without it people who hum")
    parser.add_argument("--sounds", type=Path, help="folder of 16-kHz files, of which two are compared")
    parser.add_argument("--at-once", type=int, default=100)
    parser.add_argument("--requests", type=int, default=10_000)
    args = parser.parse_args()
    first, second = sounds(args.sounds)
    with tempfile.TemporaryDirectory() as folder:
        process, address = start(args.pack, folder)
        limits = httpx.Limits(max_connections=args.at_once, max_keepalive_connections=args.at_once)
        client = httpx.Client(base_url=address, timeout=300, limits=limits)

        def verify(second: bytes) -> httpx.Response:
            return client.post("/api/verify", files={"enroll": ("a.wav", first), "test": ("b.wav", second)})

        def one(number: int) -> tuple[bool, float]:
            began = time.monotonic()
            if number % 10 == 8:
                good = verify(os.urandom(2000)).status_code == 422
            elif number % 10 == 9:
                good = client.get("/api/people").status_code == 200
            else:
                good = "same" in verify(second).json()
            return good, time.monotonic() - began

        try:
            one(0)
            report: dict[str, Any] = {"pack": args.pack}
            began = time.monotonic()
            with ThreadPoolExecutor(args.at_once) as pool:
                answers = list(pool.map(one, [0] * args.at_once))
            took = time.monotonic() - began
            times = np.percentile([seconds for _, seconds in answers], [50, 100])
            report["at_once"] = {
                "verifications": args.at_once,
                "errors": sum(not good for good, _ in answers),
                "seconds": round(took, 2),
                "median_and_last": [round(float(value), 2) for value in times],
            }
            part, errors, found = max(1, args.requests // 10), 0, [memory(process)]
            began = time.monotonic()
            for tenth in range(args.requests // part):
                with ThreadPoolExecutor(8) as pool:
                    errors += sum(not good for good, _ in pool.map(one, range(tenth * part, (tenth + 1) * part)))
                found.append(memory(process))
                print(f"{(tenth + 1) * part} requests, {errors} errors, {found[-1]} MB", file=sys.stderr, flush=True)
            growth = 100 * (found[-1] / found[min(3, len(found) - 1)] - 1)
            report["in_turn"] = {
                "requests": args.requests,
                "errors": errors,
                "a_second": round(args.requests / (time.monotonic() - began), 1),
                "memory_mb": found,
                "growth": round(growth, 1),
            }
        finally:
            process.terminate()
            process.wait(30)
    print(json.dumps(report))
    sys.exit(bool(report["at_once"]["errors"] or errors or growth > LIMIT))


if __name__ == "__main__":
    main()
