#!/usr/bin/env python3
"""Each network compiled by torch.compile (inductor) against itself without: largest differences of embeddings.

Prints one JSON line. The networks are the small ones of tests/nnet/test_*_net.py: the same layers, fewer and narrower,
since compiling takes a minute a network. Embeddings in evaluation, for two lengths, and gradients in training are those
of network_checks.check_compile, which fails above 1e-4 and 1e-3. `--networks xvector,ecapa128` does some of them only.
Each has a process of its own: inductor lays convolutions out as it likes, and some of oneDNN's damage the memory of the
process where there are as few channels as here (see layers.channels_last).
"""

import argparse
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "nnet")]

from network_checks import Config, check_compile  # noqa: E402


def small_networks() -> dict[str, tuple[Config, int]]:
    """Name -> configuration and feature dimension, as the tests of its family have them."""
    modules = [importlib.import_module(path.stem) for path in sorted((HERE.parent / "nnet").glob("test_*_net.py"))]
    return {
        name: (config, getattr(module, "FEAT_DIM", 20)) for module in modules for name, config in module.SMALL.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default="", help="names in conf/network, with commas between; default: all")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    chosen = [name for name in arguments.networks.split(",") if name]
    networks = small_networks()
    if arguments.one:
        config, feat_dim = networks[arguments.one]
        check_compile(config, feat_dim, backend="inductor", fullgraph=config["trunk"]["class_path"] != "Lstm")
        return
    results: dict[str, str] = {}
    for name in chosen or networks:
        start = time.perf_counter()
        done = subprocess.run([sys.executable, __file__, "--one", name], capture_output=True, text=True, check=False)
        said = done.stderr.strip().splitlines() or ["no message"]
        results[name] = "equal" if done.returncode == 0 else f"exit status {done.returncode}: {said[-1]}"
        print(f"{name}: {results[name]} ({time.perf_counter() - start:.0f} s)", file=sys.stderr, flush=True)
    failed = sorted(name for name, result in results.items() if result != "equal")
    print(
        json.dumps({"bench": "compile", "networks": len(results), "equal": len(results) - len(failed), "not": failed})
    )


if __name__ == "__main__":
    main()
