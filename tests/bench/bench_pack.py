#!/usr/bin/env python3
"""A pack against the recipe and sherpa-onnx: embedding of 3 s of audio, one thread, in one process; one JSON line.

    OMP_NUM_THREADS=1 tests/bench/bench_pack.py DECISION_DIR PACK.timbre SHERPA.onnx
    OMP_NUM_THREADS=1 tests/bench/bench_pack.py DECISION_DIR PACK.timbre --memory 600    # peak memory of 10 minutes

The ways take turns, and the best of each counts; milliseconds from samples in memory to the embedding. sherpa-onnx has
no VAD, so that its network sees all frames: `windows` does the same here. Without torch in the process, --memory says
what the encoder holds beside the samples.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from timbre.runtime.encoder import Encoder
from timbre.runtime.pack_file import PackFile
from timbre.runtime.sound import Sound

RATE = 16000


def voice(seconds: float) -> np.ndarray:
    """Something like speech: noise that comes and goes."""
    size = round(seconds * RATE)
    at = np.arange(min(size, 60 * RATE), dtype=np.float32) / RATE
    noise = np.random.default_rng(0).standard_normal(len(at), np.float32)
    return np.resize((0.1 * noise * np.square(np.sin(3 * at))).astype(np.float32), size)


def memory(pack: Path, seconds: float) -> dict[str, object]:
    """Peak of the process in MB before and after a recording of SECONDS, and its samples."""
    encoder = Encoder(PackFile.open(pack))
    encoder(Sound(voice(3.0), RATE, "it"), 0.0)
    sound = Sound(voice(seconds), RATE, "it")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begun = time.perf_counter()
    encoder(sound, 0.0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    taken = time.perf_counter() - begun
    return {
        "seconds": seconds,
        "samples_mb": round(sound.samples.nbytes / 1e6, 1),
        "before_mb": round(before, 1),
        "peak_mb": round(peak, 1),
        "real_time_factor": round(taken / seconds, 4),
    }


def speed(decision: Path, pack: Path, sherpa: Path | None, rounds: int) -> dict[str, object]:
    """Milliseconds of each way."""
    import soundfile
    import torch

    from timbre.embedding.embedder import Embedder, Front

    torch.set_num_threads(1)
    samples = voice(3.0)
    path = Path(tempfile.gettempdir()) / f"bench_pack_{time.monotonic_ns()}.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    recipe = Embedder(decision / "model", Front.read(decision / "front.yaml"), min_speech=0.0)
    file, sound = PackFile.open(pack), Sound(samples, RATE, "it")
    ways = {"recipe_torch": lambda: recipe(str(path))}
    for variant in file.settings["models"]:
        encoder = Encoder(file, 1, variant)
        ways[f"pack_{variant}"] = lambda encoder=encoder: encoder(sound, 0.0)  # type: ignore[misc]
    encoder = Encoder(file)
    ways["pack_all_frames"] = lambda: encoder.windows(samples, [(0, len(samples))])  # type: ignore[assignment,misc]
    if sherpa is not None:
        import sherpa_onnx

        extractor = sherpa_onnx.SpeakerEmbeddingExtractor(sherpa_onnx.SpeakerEmbeddingExtractorConfig(str(sherpa)))

        def theirs() -> object:
            stream = extractor.create_stream()
            stream.accept_waveform(sample_rate=RATE, waveform=samples)
            stream.input_finished()
            return extractor.compute(stream)

        ways["sherpa_onnx_all_frames"] = theirs  # type: ignore[assignment]
    best = dict.fromkeys(ways, np.inf)
    for _ in range(rounds):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - begun)
    path.unlink()
    return {name: round(1000 * one, 2) for name, one in best.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("decision", type=Path, help="the decision pack that it was made of")
    parser.add_argument("pack", type=Path, help="what steps/export_pack.py wrote")
    parser.add_argument("sherpa", type=Path, nargs="?", help="what its option --sherpa wrote")
    parser.add_argument("--memory", type=float, help="seconds of a recording, instead")
    parser.add_argument("--rounds", type=int, default=30, help="of each way")
    args = parser.parse_args()
    if args.memory:
        print(json.dumps({"bench": "pack", **memory(args.pack, args.memory)}))
    else:
        print(json.dumps({"bench": "pack", "ms": speed(args.decision, args.pack, args.sherpa, args.rounds)}))


if __name__ == "__main__":
    main()
