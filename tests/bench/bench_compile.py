#!/usr/bin/env python3
"""Each network compiled by torch.compile (inductor) against itself without: largest differences of embeddings.

Prints one JSON line. The networks are the small ones of tests/nnet/test_*_net.py: the same layers, fewer and narrower,
since compiling takes a minute a network. Embeddings in evaluation, for two lengths, and gradients in training are those
of network_checks.check_compile, which fails above 1e-4 and 1e-3. `--networks xvector,ecapa128` does some of them only.
"""

import argparse
import importlib
import json
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
    arguments = parser.parse_args()
    chosen = [name for name in arguments.networks.split(",") if name]
    results: dict[str, str] = {}
    for name, (config, feat_dim) in small_networks().items():
        if chosen and name not in chosen:
            continue
        start = time.perf_counter()
        try:
            check_compile(config, feat_dim, backend="inductor", fullgraph=config["trunk"]["class_path"] != "Lstm")
            results[name] = "equal"
        except Exception as error:
            results[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
        print(f"{name}: {results[name]} ({time.perf_counter() - start:.0f} s)", file=sys.stderr, flush=True)
    failed = sorted(name for name, result in results.items() if result != "equal")
    print(
        json.dumps({"bench": "compile", "networks": len(results), "equal": len(results) - len(failed), "not": failed})
    )


if __name__ == "__main__":
    main()
