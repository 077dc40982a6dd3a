#!/usr/bin/env python3
"""Memory and time of a training step's class weights when there are very many speakers.

AAM-softmax, embeddings of 192, a batch of 64, SGD with momentum: loss, backward and update, in a process of its own for
each case. Chunks of classes against all logits at once, and two ranks (gloo) with half each.
Prints one JSON line: seconds a step, and the peak of resident memory in GB of a process, less what it had at the start.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

import torch
import torch.distributed as dist

from timbre.nnet.objectives import AamSoftmax

DIM, BATCH = 192, 64


def measure(num_speakers: int, chunk: int, rank: int, size: int, store: str, steps: int) -> dict[str, float]:
    """Seconds a step and gigabytes, in this process."""
    torch.manual_seed(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    objective = AamSoftmax(DIM, num_speakers)
    objective.chunk = chunk
    if size > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
        objective.shard_classes(rank, size)
    optimizer = torch.optim.SGD(objective.parameters(), 0.1, 0.9, fused=True)
    embeddings = torch.randn(BATCH // size, DIM, requires_grad=True)
    labels = torch.randint(num_speakers, (BATCH // size,))
    times = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        loss, _ = objective(embeddings, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": round(min(times[1:]), 2), "gb": round(peak / 2**20, 2)}


def run(num_speakers: int, chunk: int, size: int, steps: int) -> dict[str, float]:
    """The same in SIZE processes of their own; the worst of them."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [str(num_speakers), str(chunk), f"{folder}/store", str(steps), str(size)]
        environment = os.environ | ({"OMP_NUM_THREADS": "1"} if size > 1 else {})
        ranks = [
            subprocess.Popen(
                [sys.executable, __file__, "--rank", str(rank), *arguments],
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            for rank in range(size)
        ]
        found = [json.loads(process.communicate()[0]) for process in ranks]
    return {key: max(one[key] for one in found) for key in ("seconds", "gb")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speakers", type=int, default=1_000_000)
    parser.add_argument("--chunk", type=int, default=AamSoftmax.chunk)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rank", nargs=6, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rank:
        rank, speakers, chunk, store, steps, size = arguments.rank
        print(json.dumps(measure(int(speakers), int(chunk), int(rank), int(size), store, int(steps))))
        return
    speakers, chunk, steps = arguments.speakers, arguments.chunk, arguments.steps
    print(
        json.dumps(
            {
                "bench": "head",
                "speakers": speakers,
                "chunk": chunk,
                "weights_gb": round(speakers * DIM * 4 / 2**30, 2),
                "chunks": run(speakers, chunk, 1, steps),
                "at_once": run(speakers, speakers, 1, steps),
                "chunks_two_ranks": run(speakers, chunk, 2, steps),
            }
        )
    )


if __name__ == "__main__":
    main()
