"""A small run as run.sh leaves it, for the tests of its page."""

import json
from pathlib import Path

import numpy as np

from steps.make_results import make_results

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\"'"


def write_run(root: Path, name: str = "small") -> Path:
    """exp/NAME in ROOT with two trial lists of a hundred utterances, a trained model, logs, settings."""
    random = np.random.default_rng(0)
    exp = root / "exp" / name
    for folder in ("scores", "model", "log", "backend"):
        (exp / folder).mkdir(parents=True)
    for trials in ("eval_b10", "eval_b9"):
        data = root / "data" / trials
        data.mkdir(parents=True)
        utts = [(f"s{spk:02d}-{utt}", f"s{spk:02d}") for spk in range(25) for utt in range(4)]
        (data / "utt2spk").write_text("".join(f"{utt} {spk}\n" for utt, spk in utts))
        pairs = [(a, b) for place, a in enumerate(utts) for b in utts[place + 1 :]]
        same = np.array([a[1] == b[1] for a, b in pairs])
        (data / "trials").write_text(
            "".join(f"{a[0]} {b[0]} {'target' if a[1] == b[1] else 'nontarget'}\n" for a, b in pairs)
        )
        for backend, distance in (("cosine", 2.0), ("plda", 3.0), ("statistics", 1.0)):
            scores = distance * same + random.normal(size=len(pairs))
            text = "".join(f"{a[0]} {b[0]} {score:.4f}\n" for (a, b), score in zip(pairs, scores, strict=True))
            (exp / "scores" / f"{trials}.{backend}").write_text(text)
    make_results(exp, root / "data", draws=20, nj=1)
    results = (exp / "results.json").read_text()
    (exp / "results.json").write_text(results.replace(f"{root}/", ""))  # as from the root of the project
    lines = [
        {
            "step": 10 * n,
            "epoch": 0.1 * n,
            "loss": 5 / n,
            "accuracy": 1 - 1 / n,
            "lr": 0.01 / n,
            "examples_per_s": 100.0 + n,
        }
        | {"waiting": 0.01 * n}
        | ({"valid_loss": 6 / n, "valid_accuracy": 1 - 2 / n, "valid_eer": 0.2 / n} if n % 3 == 0 else {})
        for n in range(1, 13)
    ]
    (exp / "model" / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (exp / "model" / "config.yaml").write_text(
        "network:\n  trunk:\n    class_path: EcapaTdnn\n  embedding_dim: 192\n"
        "objective:\n  class_path: AamSoftmax\nnum_speakers: 5994\ntrain:\n  num_steps: 200\n  device: cpu\n"
    )
    (exp / "settings.conf").write_text(
        "corpus=kaldi\ncorpus-dir=/data/corpus\nfeats-conf=conf/feats/fbank80.yaml\nnj=2\n"
    )
    (exp / "command").write_text("2030-01-02 03:04:05 ./run.sh --corpus kaldi\n")
    (exp / "log" / "run.log").write_text(
        "03:04:05 stage 0 data: running (data/x does not exist)\n03:04:06 stage 0 data: done in 0:01\n"
        "03:04:06 stage 2 features: up to date\n03:04:06 stage 4 train: running (--force)\n"
        "04:06:08 stage 4 train: done in 62:02\n04:06:08 stage 9 results: running (--force)\n"
    )
    return exp
