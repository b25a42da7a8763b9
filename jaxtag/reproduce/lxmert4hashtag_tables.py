"""Which runs make which table of the lxmert4hashtag paper, and what came of them, as JSON values."""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxtag.data.columns import positions_in
from jaxtag.data.dataset import PARTS, Dataset, Split
from jaxtag.data.image_columns import image_columns
from jaxtag.data.images import extractors, files, listing
from jaxtag.data.posts import TOPICS as TOPICS_COLUMN
from jaxtag.data.posts import WORDPIECES
from jaxtag.errors import JaxtagError
from jaxtag.experiment import Experiment
from jaxtag.files import read_json
from jaxtag.reproduce.commands import Absent, prepare
from jaxtag.reproduce.lxmert4hashtag_paper import IMAGES, KEPT, TABLE_2, TABLE_3
from jaxtag.reproduce.lxmert4hashtag_work import PAPER, TOPICS, VECTORS, Work
from jaxtag.reproduce.seeded import over_seeds
from jaxtag.systems import find
from jaxtag.training.logs import say


def table_2(work: Work) -> dict[str, Any]:
    """What was collected, beside the paper's, and what was left after each step."""
    dataset, split = work.dataset, work.dataset.split(work.split)
    funnel, hashtags = dataset.info["funnel"], dataset.column("hashtags")
    read = dataset.info.get("hashtag_steps", [{"hashtags": len(dataset.hashtags), "uses": len(hashtags.values)}])[0]
    collected = funnel[0]["posts"] if funnel else dataset.rows
    rows = np.concatenate([getattr(split, part) for part in PARTS]).astype(np.int64)
    uses = positions_in(hashtags, split.hashtags, len(dataset.hashtags)).lengths(rows).sum()
    found: dict[str, Any] = {
        "posts_read": collected,
        "images": _images(dataset),
        "hashtags_read": read["hashtags"],
        "hashtags_per_post_read": read["uses"] / max(collected, 1),
        "posts": len(rows),
        "hashtags": len(split.hashtags),
        "hashtags_per_post": float(uses / max(len(rows), 1)),
    } | {part: len(getattr(split, part)) for part in PARTS}
    made = [{"what": said, "ours": found[key], "paper": theirs} for key, (said, theirs) in TABLE_2.items()]
    made += [{"what": said, "ours": found[key]} for key, said in KEPT.items()]
    steps = [{"step": row["step"], "posts": row["posts"]} for row in (*funnel, *split.info.get("funnel", ())[1:])]
    return {"rows": made, "funnel": steps, "preset": dataset.info["preset"], "split": split.info.get("summary", "")}


def table_3(work: Work) -> dict[str, Any]:
    """Every system, and the built-in baselines, at the first five cut-offs: Fig. 3 is drawn of them."""
    split = work.dataset.split(work.split)
    rows: list[dict[str, Any]] = []
    baselines: dict[str, Any] = {}
    for name, theirs in TABLE_3.items():
        say(f"table 3: {PAPER}/{name}")
        row: dict[str, Any] = {"system": name, "paper": theirs}
        row |= {"features": work.features(name)} if name in IMAGES else {}
        try:
            experiment = work.experiment(name, _given(work, name, split))
            _check(work, name, experiment)
            found = over_seeds(
                work.out / "table-3" / name, f"{PAPER}/{name}", experiment, work.dataset, split, work.seeds
            )
        except Absent as error:
            say(f"left out: {error}")
            rows.append(row | {"absent": str(error)})
            continue
        rows.append(row | found["metrics"] | {"seeds": found["seeds"]})
        baselines = found["baselines"]
    rows += [{"system": name} | metrics for name, metrics in baselines.items()]
    return {"rows": rows, "posts": len(split.test), "hashtags": len(split.hashtags)}


def _images(dataset: Dataset) -> int:
    """Distinct images: those that the dataset lists or, where it lists none, that its posts have."""
    if listing(dataset):
        return len(files(dataset))
    image = np.asarray(dataset.column("image")) if dataset.has("image") else np.zeros(0, np.int32)
    return len(np.unique(image[image >= 0]))


def _given(work: Work, name: str, split: Split) -> dict[str, Any]:
    """What the recipe `name` is told; topics and word vectors are made where they are not there.

    Raises:
      Absent: they cannot be made.
    """
    if name == "tweet_embedding":
        return {"model.vectors": _vectors(work, split)}
    if TOPICS_COLUMN in find(work.experiment(name, {}).system).columns:
        try:
            split.topics()
        except JaxtagError:
            prepare("topics", "--data", work.data, "--split", split.name, "--topics", TOPICS[work.size])
    return {}


def _vectors(work: Work, split: Split) -> str:
    """The name of the split's word vectors of words and hashtags; they are made where they are not there."""
    if work.file:
        name, options = f"{PAPER}-{work.file.name.split('.')[0]}", ["--file", work.file]
    else:
        model = VECTORS[work.size]
        name, options = f"{PAPER}-{model}-{work.dim}", ["--model", model, "--dim", work.dim]
    file = split.path / "vectors" / name / "vectors.json"
    if not (file.is_file() and read_json(file, "description of word vectors").get("split") == split.fingerprint):
        prepare("vectors", "--data", work.data, "--split", split.name, "--name", name, *options)
    return name


def _check(work: Work, name: str, experiment: Experiment) -> None:
    """Refuse a row whose columns are not there.

    Raises:
      Absent: with the command that adds them.
    """
    dataset, reads = work.dataset, find(experiment.system).reads(experiment.model)
    if WORDPIECES in reads and not dataset.has(WORDPIECES):
        raise Absent(
            f"{dataset.path} has no WordPieces", f"jaxtag-prep wordpieces --data {dataset.path} --vocabulary LXMERT"
        )
    role, features = IMAGES.get(name, ""), experiment.data.extractor
    try:
        if role and dataset.has("image") and features not in extractors(dataset):
            make = "regions --data {} --input FILE" if role == "regions" else f"images --data {{}} --extractor {role}"
            raise Absent(
                f"{dataset.path} has no image features {features!r}",
                f"jaxtag-prep {make.format(dataset.path)}; --extractor {role}=NAME takes features of another name",
            )
        image_columns(dataset, features, reads)
    except Absent:
        raise
    except JaxtagError as error:
        raise Absent(error.message, error.mend) from None


TABLES: dict[str, Callable[[Work], dict[str, Any]]] = {"2": table_2, "3": table_3}
