"""What was meant by a name that is not there."""

import pytest

from timbre.utils.spelling import did_you_mean

FILES = ["conf/network/ecapa128.yaml", "conf/network/resnet34.yaml", "conf/feats/fbank80.yaml"]


@pytest.mark.parametrize(
    "word, meant",
    [
        ("conf/network/ecapa182.yaml", "conf/network/ecapa128.yaml"),
        ("resnet34", "conf/network/resnet34.yaml"),
        ("/far/away/resnet34.yml", "conf/network/resnet34.yaml"),
        ("nothing", None),
        ("", None),
    ],
)
def test_files(word: str, meant: str | None) -> None:
    assert did_you_mean(word, FILES) == (f"; did you mean {meant}?" if meant else "")
