"""Which of its training speakers a network takes an utterance to be of; steps/classify.py calls it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from timbre.backend.vectors import Embeddings, Ints, Vectors
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_table
from timbre.embedding.extract import ExtractOptions
from timbre.embedding.vector_parts import dump_embeddings
from timbre.feats.protocols import WHOLE, Protocol
from timbre.nnet.classifier import load_classifier
from timbre.nnet.model import read_classes, read_config
from timbre.nnet.network import build_network
from timbre.nnet.objectives import Objective
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

_BLOCK = 1 << 22  # probabilities at a time, 16 MB


@dataclass(frozen=True)
class Classifier:
    """The outputs of a model: names of its speakers by class, and what makes logits of embeddings."""

    speakers: list[str]
    objective: Objective
    embedding_dim: int

    @classmethod
    def load(cls, model_dir: Path) -> "Classifier":
        """Of a trained model.

        Raises:
            DataError: it has no classifier, or a file of it is missing, damaged or not safe to load
        """
        config, classes = read_config(model_dir), read_classes(model_dir / "spk2int")
        try:
            with torch.device("meta"):  # of the network nothing but a size is wanted
                dim = build_network(config["network"], config["feat_dim"]).embedding_dim
        except (AttributeError, TypeError, DataError) as error:
            raise DataError(str(error), model_dir / "config.yaml") from error
        objective = load_classifier(model_dir, config, dim, len(classes)).eval()
        return cls(sorted(classes, key=lambda name: classes[name]), objective, dim)

    @torch.inference_mode()
    def probabilities(self, vectors: Vectors) -> npt.NDArray[np.float32]:
        """(U, num_speakers) of VECTORS (U, embedding_dim): the softmax of the outputs, without margin."""
        made: npt.NDArray[np.float32] = self.objective.outputs(torch.from_numpy(vectors)).softmax(1).numpy()
        return made


@dataclass(frozen=True)
class Predictions:
    """Of utterances: classes (U, K), the likeliest first, their probabilities, and the rank of the true one, or 0.

    true: (U,) the class of the speaker, -1 where there is no label.
    """

    utts: list[str]
    speakers: list[str]
    classes: Ints
    probabilities: npt.NDArray[np.float32]
    true: Ints
    rank: Ints

    def write(self, path: Path) -> None:
        """PATH: utterance, rank, speaker and probability, with tabs between them, under a line of titles."""
        with atomic_write(path) as file:
            file.write("utterance\trank\tspeaker\tprobability\n")
            for utt, classes, shares in zip(self.utts, self.classes, self.probabilities, strict=True):
                for rank, (one, share) in enumerate(zip(classes, shares, strict=True), 1):
                    file.write(f"{utt}\t{rank}\t{self.speakers[one]}\t{share:.6f}\n")

    def write_submission(self, path: Path, rows: Mapping[str, str]) -> None:
        """PATH: "Id,Category", a line for each of ROWS in order of its number, with the likeliest speaker.

        Args:
            path: the file to write
            rows: utterance -> "NUMBER ID"

        Raises:
            DataError: an utterance of ROWS has no vector, or ROWS are not so
        """
        place = {utt: index for index, utt in enumerate(self.utts)}
        if missing := sorted(rows.keys() - place.keys()):
            raise DataError(f"{len(missing)} rows of the submission have no vector, such as {missing[0]}")
        lines = []
        for utt, value in rows.items():
            number, _, name = value.partition(" ")
            if not number.isdecimal() or not name or any(char in name for char in ',"\n'):
                raise DataError(f"row of {utt}: '{value}' is not 'NUMBER ID', with an ID without comma and quote")
            lines.append((int(number), f"{name},{self.speakers[self.classes[place[utt], 0]]}\n"))
        with atomic_write(path) as file:
            file.write("Id,Category\n")
            file.writelines(line for _, line in sorted(lines))


def name_speakers(
    classifier: Classifier, vectors: Path, top_k: int, labels: Path | None, utts: Sequence[str] | None = None
) -> Predictions:
    """The TOP_K likeliest speakers of every utterance of VECTORS, or of UTTS alone.

    Args:
        classifier: of the model that made the vectors
        vectors: scp or ark
        top_k: how many; at most all
        labels: utt2spk
        utts: which utterances

    Raises:
        DataError: damaged vectors, or of another dimension; a label that is missing or no speaker of the model
    """
    if top_k < 1:
        raise DataError(f"top_k is {top_k}; it must be at least 1")
    found = Embeddings.read(vectors)
    if found.dim != classifier.embedding_dim:
        raise DataError(f"vectors of {found.dim} dimensions; the classifier takes {classifier.embedding_dim}", vectors)
    ids = list(found.ids if utts is None else utts)
    rows = found.find(ids, str(vectors)) if utts is not None else np.arange(len(ids))
    if not ids:
        raise DataError("no utterance to classify", vectors)
    true = _true_classes(classifier, ids, labels)
    number = min(top_k, len(classifier.speakers))
    size = max(1, _BLOCK // len(classifier.speakers))
    classes, shares, ranks = [], [], []
    for begin in range(0, len(ids), size):
        part = classifier.probabilities(found.matrix[rows[begin : begin + size]])
        order = np.argsort(-part, axis=1, kind="stable")
        classes.append(order[:, :number])
        shares.append(np.take_along_axis(part, order[:, :number], 1))
        hit = order == true[begin : begin + size, None]
        ranks.append(np.where(hit.any(1), hit.argmax(1) + 1, 0))
    made = np.concatenate(classes), np.concatenate(shares), true, np.concatenate(ranks)
    return Predictions(ids, classifier.speakers, *made)


def embed_data(model_dir: Path, data_dir: Path, stem: Path, device: str, nj: int) -> Path:
    """Embeddings of the whole utterances of DATA_DIR, written to STEM.ark and STEM.scp; the latter.

    Raises:
        DataError: as of extract_embeddings.py
    """
    data = DataDir.read(data_dir, need_speakers=False)
    dump_embeddings(model_dir, data, {Protocol.named(WHOLE): stem}, ExtractOptions(), device, nj)
    return stem.with_name(f"{stem.name}.scp")


def _true_classes(classifier: Classifier, ids: Sequence[str], labels: Path | None) -> Ints:
    if labels is None:
        return np.full(len(ids), -1, np.int64)
    table = read_table(labels)
    class_of = {name: number for number, name in enumerate(classifier.speakers)}
    true = np.empty(len(ids), np.int64)
    for index, utt in enumerate(ids):
        if utt not in table:
            raise DataError(f"no speaker of {utt}", labels)
        if table[utt] not in class_of:
            raise DataError(f"speaker {table[utt]} of {utt} is none of the {len(class_of)} of the model", labels)
        true[index] = class_of[table[utt]]
    return true
