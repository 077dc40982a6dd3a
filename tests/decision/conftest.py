"""A decision pack, and what it was made of."""

from pathlib import Path

import pytest

from steps.make_decision_pack import make_decision_pack
from steps.make_quality import make_quality
from steps.make_trials import make_trials
from steps.train_backend import train_backend
from voices import FBANK, embed, write_data, write_model


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model/, train/, dev/ and backend/ of a small run; the network is as drawn, the back-end trained on train/."""
    folder = tmp_path_factory.mktemp("run")
    model = write_model(folder / "model", 20)
    for name, speakers in (("train", range(14)), ("dev", range(14, 24))):
        embed(write_data(folder / name, speakers, 5), FBANK, model)
    make_trials(folder / "dev")
    make_quality(folder / "dev", folder / "quality", folder / "dev" / "xvector.scp", nj=1)
    (folder / "plda.yaml").write_text(
        "transforms: [Mean, {class_path: Lda, init_args: {dim: 6}}, LengthNorm]\nmodel: TwoCovariancePlda\n"
    )
    train_backend(
        folder / "train" / "xvector.scp", folder / "train" / "utt2spk", folder / "backend", folder / "plda.yaml"
    )
    return folder


@pytest.fixture(scope="module")
def pack(place: Path) -> Path:
    """A pack with everything: AS-norm and quality measures."""
    dev, train = place / "dev", place / "train"
    tables = [place / "quality" / f"utt2{name}" for name in ("logdur", "snr", "magnitude")]
    make_decision_pack(
        place / "model", train, place / "backend", dev / "trials", dev / "xvector.scp", place / "pack",
        cohort_scp=train / "xvector.scp", cohort_utt2spk=train / "utt2spk", top_n=8, measures=tables, draws=50, nj=1,
        min_speech=0.5,
    )  # fmt: skip
    return place / "pack"
