"""What can be trained on which split: refused in one line, before anything is compiled."""

import numpy as np

from jaxtag.data.posts import WORDPIECES
from jaxtag.errors import JaxtagError
from jaxtag.evaluation.lists import check_threshold
from jaxtag.fitted import Sampled
from jaxtag.parallel.mesh import check_batch
from jaxtag.runs import Bound
from jaxtag.training.logs import check_tensorboard
from jaxtag.zero_shot import Embedding

NAMED = 5  # rows that a line names
FEW = 64  # posts of a batch, below which the hardest of the others is seldom hard


def check_training(bound: Bound) -> None:
    """Refuse to train what cannot be trained.

    Raises:
      JaxtagError: the batch or a part of it does not divide over the mesh or is larger than the training part,
        the validation part is empty, the system, split or accumulation does not fit the objective, or tensorboardX is
        asked for and absent; there is a threshold and hashtags have no probability of their own.
    """
    training, split = bound.experiment.training, bound.split
    _check_objective(bound)
    check_threshold(bound, bound.experiment.evaluation.threshold)
    split.part("validation")  # what early stopping and the best checkpoint go by
    if training.tensorboard:
        check_tensorboard()
    if isinstance(bound.system, Sampled):  # a block of posts is a device's own, and may be any
        return
    check_batch("training.batch", training.batch, bound.mesh)
    if training.batch > len(split.train):
        raise JaxtagError(
            f"training.batch is {training.batch}, {split.path} has {len(split.train)} training posts",
            "make the batch smaller",
        )
    _check_parts(bound)
    if training.objective == "single" and split.info["hashtags_per_post"] != "one":
        raise JaxtagError(
            f"training.objective single needs posts with exactly one hashtag, {split.path} keeps all",
            f"jaxtag-prep split --data {bound.dataset.path} --name single --per-post one, "
            "or --training.objective pairs",
        )


def check_candidates(bound: Bound) -> None:
    """Refuse a split whose candidates the system could not rank once trained.

    Raises:
      JaxtagError: some are unseen, and the system ranks only what it trains on.
    """
    split, entry = bound.split, bound.system.entry
    unseen = len(np.setdiff1d(split.candidates, split.hashtags))
    if unseen and not entry.zero_shot:
        raise JaxtagError(
            f"{entry.name} ranks only hashtags that it trains on, and {unseen} of the {len(split.candidates)} "
            f"candidates of {split.path} are unseen",
            "train on a split whose candidates are all seen, or a zero-shot system such as zsl/eszsl",
        )


def cropped(bound: Bound) -> str:
    """What is to be said of training posts with more hashtags, or WordPieces, than are learned; empty of none."""
    rows, reading = bound.split.train, bound.reading
    if WORDPIECES in reading.lengths:
        counts, most = bound.dataset.column(WORDPIECES).lengths(rows), reading.lengths[WORDPIECES]
        done = f"only {most} of them, with the end, are read (data.length)"
        return _cropped(rows, counts, most, "WordPieces", done)
    if bound.system.entry.output != "decode":
        return ""
    most, counts = bound.experiment.model.most, reading.columns["hashtags"].lengths(rows)
    return _cropped(rows, counts, most, "hashtags", f"only the first {most} are learned (model.most)")


def few_others(bound: Bound) -> str:
    """What is to be said of a batch whose posts are compared with each other; empty where it is large enough."""
    training = bound.experiment.training
    if not bound.system.objective or not bound.system.objective.couples or training.batch >= FEW:
        return ""
    return (
        f"training.batch is {training.batch}: by training.objective {training.objective} a post is told from the other "
        f"{training.batch - 1} of its batch, which are few; its authors' batch is 128"
    )


def _cropped(rows: np.ndarray, counts: np.ndarray, most: int, what: str, done: str) -> str:
    if not (long := np.flatnonzero(counts > most)).size:
        return ""
    named = ", ".join(str(row) for row in rows[long[:NAMED]]) + (", …" if len(long) > NAMED else "")
    return (
        f"{len(long):,} of {len(rows):,} training posts have more than {most} {what}, up to {counts.max()}: "
        f"{done}; rows {named}"
    )


def _check_objective(bound: Bound) -> None:
    """Refuse an objective that the system's scores are not made for."""
    objective, entry = bound.experiment.training.objective, bound.system.entry
    if (objective == "hinge") != isinstance(bound.system, Embedding):
        wanted = "hinge" if objective != "hinge" else "pairs"
        what = "has views of a post" if wanted == "hinge" else "has no views of a post to compare"
        raise JaxtagError(
            f"{entry.name} {what}, and does not learn by training.objective {objective}",
            f"--training.objective {wanted}",
        )
    if bound.experiment.training.head_posts and not (entry.output == "table" and objective in ("pairs", "single")):
        raise JaxtagError(
            f"training.head_posts is {bound.experiment.training.head_posts}, but {entry.name} has no softmax over "
            f"hashtags that it learns by training.objective {objective}",
            "--training.head_posts 0",
        )
    if (entry.output == "decode") == (objective == "sequence") or isinstance(bound.system, Sampled):
        return
    if entry.output == "decode":
        raise JaxtagError(
            f"{entry.name} learns hashtags as a sequence, not by training.objective {objective}",
            "--training.objective sequence",
        )
    raise JaxtagError(
        f"training.objective sequence needs a system of hashtag sequences, which {entry.name} is not",
        "--training.objective pairs, or a system such as amnn",
    )


def _check_parts(bound: Bound) -> None:
    training, entry = bound.experiment.training, bound.system.entry
    whole = int(entry.output == "decode")  # hashtags are padded too, but are not what parts are cut by
    if training.by_length > whole and not entry.texts:
        raise JaxtagError(
            f"training.by_length is {training.by_length}, but {entry.name} reads no words",
            f"--training.by_length {whole}",
        )
    made = {"accumulate": training.accumulate, "by_length": training.by_length or 1}
    if (parts := made["accumulate"] * made["by_length"]) == 1:
        return
    by = " and ".join(f"training.{name} {n}" for name, n in made.items() if n > 1)
    check_batch(f"training.batch / {parts}, by {by},", training.batch // parts, bound.mesh)
    if bound.system.objective.couples:
        raise JaxtagError(
            f"{by} would divide a batch, but training.objective {training.objective} compares its posts with each "
            "other",
            "--training.accumulate 1 --training.by_length 0",
        )
    if entry.couples:
        raise JaxtagError(
            f"{by} would divide a batch, but {entry.name} normalises by the means of a whole one",
            "--training.accumulate 1 --training.by_length 0",
        )
