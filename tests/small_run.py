"""A run in small, from made voices to an exported pack; the fixture small_run of conftest.py makes it."""

import json
from pathlib import Path

from steps.export_pack import export_pack
from steps.make_decision_pack import make_decision_pack
from steps.make_trials import make_trials
from steps.train_backend import train_backend
from voices import FBANK, embed, write_data, write_model


def write_run(folder: Path) -> Path:
    """FOLDER with decision/, and small.timbre exported from it with all variants, measured on its trials.

    Recordings of speakers s10 to s16 are in dev/wav/; results.json and analysis/ hold figures that were made up.
    """
    model = write_model(folder / "model", 20)
    for name, speakers in (("train", range(10)), ("dev", range(10, 17))):
        embed(write_data(folder / name, speakers, 4), FBANK, model)
    dev, train = folder / "dev", folder / "train"
    make_trials(dev)
    (folder / "plda.yaml").write_text(
        "transforms: [Mean, {class_path: Lda, init_args: {dim: 6}}, LengthNorm]\nmodel: TwoCovariancePlda\n"
    )
    train_backend(train / "xvector.scp", train / "utt2spk", folder / "backend", folder / "plda.yaml")
    make_decision_pack(
        model, train, folder / "backend", dev / "trials", dev / "xvector.scp", folder / "decision",
        cohort_scp=train / "xvector.scp", cohort_utt2spk=train / "utt2spk", top_n=8, draws=20, nj=1, min_speech=0.4,
    )  # fmt: skip
    results = [{"trials": "dev", "backend": "plda", "eer": 0.1, "eer_ci": [0.05, 0.2], "num_speakers": 6}]
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "analysis").mkdir()
    group = {"condition": "dur", "group": "1 to 2 s", "eer": 0.2, "eer_ci": None, "num_target": 3, "num_nontarget": 4}
    content = {"trials": "dev", "backend": "plda", "groups": [group, {**group, "condition": "gender"}]}
    (folder / "analysis" / "dev.plda.json").write_text(json.dumps(content))
    pack = folder / "small.timbre"
    export_pack(folder / "decision", pack, ["int8", "int8_weights", "fp16"], licence="CC-BY-4.0", measure_on=dev)
    return folder
