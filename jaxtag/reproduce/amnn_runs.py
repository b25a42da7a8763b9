"""A row of the amnn paper's tables: its runs, or why there are none.

OUT/<dataset>/<system>-<features>/seed-<i>/   a row's run (`jaxtag.crossvalidate`)

Tables that share a row share its runs, and a system that reads what AMNN makes of a post starts from AMNN's own.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxtag.data.dataset import Dataset, Split
from jaxtag.data.image_columns import image_columns
from jaxtag.data.images import extractors
from jaxtag.errors import JaxtagError
from jaxtag.evaluation import metrics
from jaxtag.experiment import Experiment
from jaxtag.files import read_json
from jaxtag.reproduce.amnn_work import ENCODERS, Row, Work
from jaxtag.reproduce.commands import Absent, prepare
from jaxtag.reproduce.seeded import AT_K, KS, folders, over_seeds, spread
from jaxtag.systems import find
from jaxtag.training.logs import say

ENOUGH = {"show_attend_tell": 5}  # recommendations that a post must have for the paper to count it
TRAINED = {
    "word2vec": "skipgram",
    "fasttext": "fasttext",
}  # how fixed word vectors are trained where no file of them is given


@dataclass(frozen=True)
class Found:
    """What came of a row.

    Attributes:
      row: JSON values of it, with metrics, or `absent`.
      more: other rows of the same runs.
      baselines: the built-in baselines' metrics.
    """

    row: dict[str, Any]
    more: tuple[dict[str, Any], ...] = ()
    baselines: dict[str, Any] = field(default_factory=dict)


def found_of(work: Work, name: str, dataset: Dataset, split: Split, row: Row) -> Found:
    """Run what is left of a row on the dataset called `name`."""
    said: dict[str, Any] = {"system": row.system}
    if row.images:
        said |= {"images": list(row.images), "features": list(work.features(row))}
    if row.vectors:
        said |= {"vectors": row.vectors, "recurrent": row.recurrent}
    if row.shuffled or row.system in ("amnn", "amnn_image"):
        said["shuffled"] = row.shuffled
    say(f"{name}: {folder_of(work, name, row).name}")
    try:
        given, vectors = _vectors(work, dataset, split, row)
        experiment = work.experiment(row, given)
        _check_images(dataset, experiment, row, work)
        folder = folder_of(work, name, row)
        _share(work, name, row, experiment)
        found = over_seeds(folder, f"amnn/{row.system}", experiment, dataset, split, work.seeds)
    except Absent as error:
        say(f"left out: {error}")
        return Found(said | {"absent": str(error)})
    said |= vectors | {"seeds": found["seeds"]}
    if row.system not in ENOUGH:
        return Found(said | found["metrics"], baselines=found["baselines"])
    all_posts = said | {"posts": "all"} | found["metrics"]
    least = ENOUGH[row.system]
    return Found(said | _with_enough(folders(folder, experiment, work.seeds), dataset, least), (all_posts,),
                 found["baselines"])  # fmt: skip


def folder_of(work: Work, name: str, row: Row) -> Path:
    """The folder of a row's runs."""
    parts = [row.system, *dict.fromkeys(work.features(row))]
    if row.vectors:
        file = work.files.get(row.vectors)
        parts += [row.vectors, *([_safe(file)] if file else []), *([] if row.recurrent else ["mean"])]
    parts += [f"shuffled-{work.shuffle}"] if row.shuffled else []
    return work.out / name / "-".join(parts)


def _check_images(dataset: Dataset, experiment: Experiment, row: Row, work: Work) -> None:
    """Refuse a row whose image features are not there.

    Raises:
      Absent: with the command that makes them.
    """
    lacking = {role: n for role, n in zip(row.images, work.features(row)) if n not in extractors(dataset)}
    if lacking:
        makes = [f"--extractor {role}{' --weights FILE' * (role == 'vgg16_places')}" for role in lacking]
        named = " and ".join(repr(name) for name in lacking.values())
        commands = " and ".join(f"jaxtag-prep images --data {dataset.path} {make}" for make in makes)
        other = f"--extractor {min(lacking)}=NAME takes features of another name"
        raise Absent(f"{dataset.path} has no image features {named}", f"{commands}; {other}")
    network = experiment.network
    try:
        image_columns(dataset, network.data.extractor, find(network.system).reads(network.model))
    except JaxtagError as error:
        raise Absent(error.message, error.mend) from None


def _share(work: Work, name: str, row: Row, experiment: Experiment) -> None:
    """Let a row whose encoder is a row of its own start from that row's runs, trained by whichever comes first."""
    if not experiment.encoder:
        return
    other = Row(ENCODERS[row.system], row.images)
    if experiment.encoder != work.experiment(other, {}):
        return
    pairs = zip(*(folders(folder_of(work, name, r), experiment, work.seeds) for r in (row, other)), strict=True)
    for mine, theirs in pairs:
        (theirs / "fold-0").mkdir(parents=True, exist_ok=True)
        link = mine / "fold-0" / "encoder"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink() and not link.exists():
            target = Path("../../..") / theirs.parent.name / theirs.name / "fold-0"
            link.symlink_to(target, target_is_directory=True)


def _vectors(work: Work, dataset: Dataset, split: Split, row: Row) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a row with fixed word vectors is told, and what is said of them; they are made where they are not there.

    Raises:
      Absent: no file of them is given and they cannot be trained, or jaxtag-prep refuses the file.
    """
    if not row.vectors:
        return {}, {}
    file = work.files.get(row.vectors)
    if file:
        name, options = f"amnn-{row.vectors}-{_safe(file)}", ["--file", file]
    elif row.vectors in TRAINED:
        model = TRAINED[row.vectors]
        name, options = f"amnn-{model}-{work.dim}", ["--model", model, "--dim", work.dim]
    else:
        raise Absent(f"no {row.vectors} vectors are given (--pretrained {row.vectors}=FILE)")
    described = split.path / "vectors" / name / "vectors.json"
    if not (
        described.is_file() and read_json(described, "description of word vectors").get("split") == split.fingerprint
    ):
        prepare("vectors", "--data", dataset.path, "--split", split.name, "--name", name, *options)
    width = split.vectors(name).shape[1]
    source = f"{file.name}" if file else "trained on the posts"
    return {"data.vectors": name, "model.embedding": width}, {"source": source, "numbers": width}


def _safe(file: Path) -> str:
    """A file's name as a part of names of folders."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", file.name)[:60]


def _with_enough(runs: list[Path], dataset: Dataset, least: int) -> dict[str, Any]:
    """A row's metrics over test posts with so many recommendations, of which it says how many there are."""
    each, counted, posts = [], 0, 0
    for run in runs:
        with np.load(run / "fold-0" / "predictions-test.npz") as saved:
            ranked, gold = saved["ranked"], saved["gold"]
        enough = (ranked >= 0).sum(1) >= least
        counted, posts = counted + int(enough.sum()), posts + len(enough)
        if enough.any():
            ks = tuple(k for k in KS if k <= ranked.shape[1])
            counted_posts = jnp.asarray(enough)
            sums = metrics.topk_sums(jnp.asarray(ranked), jnp.asarray(gold), counted_posts, ks, len(dataset.hashtags))
            each.append(metrics.finish(sums, ks))
    if not each:
        return {"absent": f"none of {posts:,} test posts has {least} recommendations or more"}
    values = {m: spread([found[m] for found in each]) for m in AT_K if m in each[0]}
    return {"posts": f"{counted:,} of {posts:,} with {least} recommendations or more", **values}
