"""Which runs make which table of the zsl paper, and what came of them, as JSON values."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtag.crossvalidate import over
from jaxtag.data import inspect
from jaxtag.data.dataset import Split
from jaxtag.evaluation.zero_shot import chance
from jaxtag.reproduce import zsl_splits as splits
from jaxtag.reproduce.paper import scores
from jaxtag.reproduce.zsl_examples import recommended
from jaxtag.reproduce.zsl_paper import HITS, TABLE_1, TABLE_2, TABLE_3
from jaxtag.reproduce.zsl_work import Work
from jaxtag.search import space
from jaxtag.search.grid import sweep
from jaxtag.training.logs import say

SUPERVISED = tuple(TABLE_2)


@dataclass(frozen=True)
class Method:
    """A row of Table 3.

    Attributes:
      recipe: its recipe.
      encoder: none, mean word vectors, or (empty) the one that the reproduction is asked for.
      fields: what it has other than the recipe.
    """

    recipe: str
    encoder: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


SCALED = {"model.words": "all", "model.hashtag_vectors": "sum", "model.centre": True, "model.z_norm": True}
TO_COSINE = SCALED | {"model.unit": True, "model.identity": 1, "model.centre_labels": True, "model.balance": 1}
METHODS = {
    "cosine": Method("zsl/cosine"),
    "eszsl, mean word vectors": Method("zsl/eszsl", "vectors"),
    "conse": Method("zsl/conse", ""),
    "eszsl": Method("zsl/eszsl", ""),
    "dem": Method("zsl/dem", ""),
    **{f"{name}, balanced": Method(f"zsl/{name}", "", {"model.balance": 1}) for name in ("conse", "eszsl", "dem")},
    "cosine, scaled": Method("zsl/cosine", None, SCALED),
    "eszsl, towards cosine": Method("zsl/eszsl", "vectors", TO_COSINE),
}
AGAINST = ("cosine", "eszsl, mean word vectors")  # what the others are compared with, split by split
COMPARED = "eszsl"  # the zero-shot method by which section 7.4 compares word vectors
SHOWN_BY = "dem"  # whose recommendations Table 4 shows
ACTIVATIONS = {"rnn": "model.activation=relu,tanh", "cnn": "model.activation=softplus,relu"}
CLASSES = ("accuracy@1", "precision_micro", "recall_micro", "f1_micro", "f1_macro", "f1_weighted")


def table_1(work: Work) -> dict[str, Any]:
    """The funnel: what was read and what was left, beside the paper's."""
    found = inspect.statistics(work.dataset)
    found["hashtags_with_200"] = found["hashtags_with_posts"]["200"]
    rows = [{"what": said, "ours": found[key], "paper": theirs} for key, (said, theirs) in TABLE_1.items()]
    return {"rows": rows, "funnel": work.dataset.info["funnel"]}


def table_2(work: Work) -> dict[str, Any]:
    """The supervised systems over the folds."""
    name, folds = splits.folds(work.data, work.protocol)
    setting, dim = work.protocol.settings[0], work.protocol.dim
    vectors = splits.vectors(work.dataset, folds, setting, dim, work.protocol)
    rows: list[dict[str, Any]] = []
    baselines: dict[str, Any] = {}
    for system in SUPERVISED:
        say(f"table 2: zsl/{system}")
        experiment = work.supervised(system, vectors, dim)
        found = over(work.out / "table-2" / system, f"zsl/{system}", experiment, work.dataset, name, folds)
        rows.append({"system": system, "vectors": setting, **scores(found, CLASSES), "paper": TABLE_2[system]})
        baselines = found["baselines"]
    rows += [{"system": b, "vectors": None, **scores(found, CLASSES)} for b, found in baselines.items()]
    return {"rows": rows, "folds": len(folds), "hashtags": len(folds[0].hashtags), "posts": _posts(folds[0])}


def table_3(work: Work) -> dict[str, Any]:
    """The zero-shot methods at every number of unseen hashtags, without and with a few posts of those."""
    sizes = _sizes(work)
    kinds = work.protocol.kinds
    made = splits.unseen(work.data, work.protocol, [ours for _, ours in sizes], kinds)
    every = [split for _, some in made.values() for split in some]
    dim = work.protocol.dim
    vectors = {s: splits.vectors(work.dataset, every, s, dim, work.protocol) for s in work.protocol.settings}
    rows = []
    for paper, (seen, held) in sizes:
        for kind in kinds:
            row = {"seen": seen, "unseen": held, "kind": kind, "paper_sizes": paper}
            for setting in work.protocol.settings:
                for method in METHODS:
                    say(f"table 3: {seen}/{held}, {kind}, {setting} word vectors, {method}")
                    folder = _folder(work, seen, held, kind, setting)
                    found = _method(work, folder, method, vectors[setting], dim, *made[held, kind])
                    theirs = TABLE_3[paper].get(method, {}).get(kind)
                    mine = {"method": method, "vectors": setting, "hits": _hits(found), "paper": theirs}
                    rows.append(row | mine | {"by_split": [f["metrics"]["accuracy@1"] for f in found["folds"]]})
            hits = {f"hit@{k}": {"mean": chance(k, held), "spread": 0.0} for k in HITS if k <= held}
            rows.append(row | {"method": "chance", "vectors": None, "hits": hits, "paper": None})
    _compare(rows)
    return {"rows": rows, "splits": work.protocol.seeds}


def _compare(rows: list[dict[str, Any]]) -> None:
    """Add to rows, under `ahead`, how far hit@1 is ahead of `AGAINST` on the same splits: mean and standard error."""
    same = ("seen", "unseen", "kind", "vectors")
    for row in rows:
        row["ahead"] = {}
        for other in rows:
            if other["method"] not in AGAINST or other is row or any(row[key] != other[key] for key in same):
                continue
            apart = [a - b for a, b in zip(row["by_split"], other["by_split"], strict=True)]
            error = statistics.stdev(apart) / len(apart) ** 0.5 if len(apart) > 1 else 0.0
            row["ahead"][other["method"]] = {"mean": statistics.fmean(apart), "error": error}


def table_4(work: Work) -> dict[str, Any]:
    """Posts of unseen hashtags with what a zero-shot method recommends."""
    _, (seen, held) = _sizes(work)[0]
    setting, dim = work.protocol.settings[0], work.protocol.dim
    name, found = splits.unseen(work.data, work.protocol, [(seen, held)], ["zero-shot"])[held, "zero-shot"]
    vectors = splits.vectors(work.dataset, found, setting, dim, work.protocol)
    folder = _folder(work, seen, held, "zero-shot", setting)
    _method(work, folder, SHOWN_BY, vectors, dim, name, found)
    said = {"method": SHOWN_BY, "seen": seen, "unseen": held, "vectors": setting, "split": found[0].name}
    return said | recommended(work.dataset, found[0], folder / SHOWN_BY / "fold-0")


def section_7_4(work: Work) -> dict[str, Any]:
    """Word vectors of other widths or from a file, and activations."""
    protocol, setting = work.protocol, work.protocol.settings[0]
    name, folds = splits.folds(work.data, protocol)
    _, (seen, held) = _sizes(work)[0]
    zero_name, zero = splits.unseen(work.data, protocol, [(seen, held)], ["zero-shot"])[held, "zero-shot"]
    every = [*folds, *zero]
    # What Table 2 and Table 3 have is not run again.
    kinds = {f"own, {protocol.dim} dimensions": (protocol.dim, work.out / "table-2",
                                                 _folder(work, seen, held, "zero-shot", setting))}  # fmt: skip
    for dim in (2 * protocol.dim, *([0] if protocol.file else [])):
        folder = work.out / "section-7.4" / (f"vectors-{dim}" if dim else "vectors-pretrained")
        kinds[f"own, {dim} dimensions" if dim else f"from {protocol.file and protocol.file.name}"] = dim, folder, folder
    rows = []
    for kind, (dim, supervised, zero_shot) in kinds.items():
        say(f"section 7.4: {kind}")
        if dim or not protocol.file:
            vectors = splits.vectors(work.dataset, every, setting, dim, protocol)
        else:
            vectors, dim = splits.given_vectors(work.dataset, every, protocol.file)
        system = protocol.compared
        experiment = work.supervised(system, vectors, dim)
        found = over(supervised / system, f"zsl/{system}", experiment, work.dataset, name, folds)
        hits = _hits(_method(work, zero_shot, COMPARED, vectors, dim, zero_name, zero))
        rows.append({"vectors": kind, **scores(found, CLASSES[:1]), "hits": hits})
    searches = [_activations(work, s, f"{setting}-{protocol.dim}", protocol.dim, name) for s in protocol.activations]
    sizes = {"seen": seen, "unseen": held, "setting": setting, "pretrained": protocol.file is not None}
    sizes |= {"system": protocol.compared, "method": COMPARED}
    return {"vectors": rows, "activations": searches, **sizes}


def _activations(work: Work, system: str, vectors: str, dim: int, name: str) -> dict[str, Any]:
    """A search over one system's activation."""
    base = work.supervised(system, vectors, dim)
    points = space.points(base, space.grid(space.parse([ACTIVATIONS[system]], base)))
    folder = work.out / "section-7.4" / f"activation-{system}"
    return sweep(folder, f"zsl/{system}", points, work.data, name, work.protocol.folds, "accuracy@1")


def _folder(work: Work, seen: int, held: int, kind: str, setting: str) -> Path:
    return work.out / "table-3" / f"{seen}-{held}-{kind}-{setting}"


def _method(
    work: Work, folder: Path, method: str, vectors: str, dim: int, name: str, found: list[Split]
) -> dict[str, Any]:
    """A zero-shot method over seeded splits; methods with an encoder of one folder share it."""
    chosen = METHODS[method]
    runs = folder / method.replace(", ", "-").replace(" ", "-")
    if chosen.encoder == "":
        for number in range(len(found)):
            shared, link = folder / "encoder" / f"fold-{number}", runs / f"fold-{number}" / "encoder"
            shared.mkdir(parents=True, exist_ok=True)
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink() and not link.exists():
                link.symlink_to(Path("../..") / "encoder" / shared.name, target_is_directory=True)
    experiment = work.zero_shot(chosen.recipe, chosen.encoder, vectors, dim, chosen.fields)
    return over(runs, chosen.recipe, experiment, work.dataset, name, found)


def _sizes(work: Work) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The paper's sizes, and those that this dataset allows."""
    _, folds = splits.folds(work.data, work.protocol)
    return list(zip(TABLE_3, splits.sizes(len(folds[0].hashtags))))


def _hits(found: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """hit@k, for the k that are no more than the candidates."""
    return {
        f"hit@{k}": {what: found[what][f"accuracy@{k}"] for what in ("mean", "spread")}
        for k in HITS
        if f"accuracy@{k}" in found["mean"]
    }


def _posts(split: Split) -> int:
    return sum(len(part) for part in (split.train, split.validation, split.test))


TABLES: dict[str, Callable[[Work], dict[str, Any]]] = {
    "1": table_1, "2": table_2, "3": table_3, "4": table_4, "7.4": section_7_4,
}  # fmt: skip
