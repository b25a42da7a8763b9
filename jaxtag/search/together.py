"""Which runs of a search train together, as populations, and what is known of them afterwards.

DIR/population-<fingerprint>/   of a population under way; gone once its members are done
"""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxtag import crossvalidate
from jaxtag import experiment as experiments
from jaxtag.data import columns
from jaxtag.data.batches import resident
from jaxtag.data.dataset import Dataset, Split
from jaxtag.data.posts import COLUMNS
from jaxtag.errors import JaxtagError
from jaxtag.evaluation.evaluate import Result, candidates_of, compare, evaluate
from jaxtag.experiment import Experiment, override
from jaxtag.files import fingerprint, read_json, write_json
from jaxtag.runs import Bound, bind
from jaxtag.search.members import Member, Progress
from jaxtag.search.population import MEMBERS, named, train_population
from jaxtag.search.room import divided
from jaxtag.search.space import Point
from jaxtag.systems import find
from jaxtag.training.logs import say
from jaxtag.training.optimizers import optimizer
from jaxtag.training.programs import without_numbers
from jaxtag.training.train import check

PART = "validation"


@dataclass(frozen=True)
class Search:
    """What is searched: points on splits.

    Attributes:
      run: folder of the search.
      recipe: the recipe's name.
      points: what to train.
      dataset, splits: on what.
      name: of the splits, in documents.
      halving: whether populations halve.
    """

    run: Path
    recipe: str
    points: Sequence[Point]
    dataset: Dataset
    splits: Sequence[Split]
    name: str
    halving: bool = False

    def known(self, point: Point) -> dict[int, dict[str, Any]]:
        """The rows of a point's folds that are done."""
        folder = self.run / point.name
        return crossvalidate.done_of(folder, self.recipe, point.experiment, self.splits, PART, self.halving)


@dataclass
class Found:
    """What populations found: rows of folds, and why members failed, by point and number of the fold."""

    rows: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def train_together(search: Search, most: int = 0) -> Found:
    """Train the runs of a search that can share a program with another, as populations of at most so many members.

    Args:
      search: whose runs; those that are done, or begun alone, are left alone.
      most: 0 is as many as memory allows.

    Returns:
      What the members found; the rest is to be trained one run after the other.

    Raises:
      JaxtagError: a split lacks the part that is judged by, or a run's folder is another run's.
      Preempted: SIGTERM or SIGINT came; the same call goes on from there.
    """
    found, begun = Found(), _begun(search, keep=most != 1)
    if most == 1:
        return found
    groups = _groups(search, begun)
    _tell(search, [*groups.values()])
    for key, group in groups.items():
        if key in begun.values():
            group.sort(key=lambda m: [*begun].index(named(m.folder)))  # as they were begun with
            _train(search, key, group, len(group), found)
            continue
        parts = divided(group, most) if len(group) > 1 else []
        for members in parts:
            name = f"population-{fingerprint([named(m.folder) for m in members])}"
            _train(search, name, members, len(parts[0]), found)
    return found


def compiled(experiment: Experiment) -> dict[str, Any]:
    """The fields of an experiment that its programs, or the data they are given, depend on."""
    plain = without_numbers(experiment)
    plain = replace(plain, data=experiment.data, evaluation=replace(experiment.evaluation, metric=""))
    return experiments.fields_of(replace(plain, parallel=experiment.parallel))


def _groups(search: Search, begun: dict[str, str]) -> dict[str, list[Member]]:
    """The runs that are not done, by the population begun with them, or else by what is compiled for them."""
    bounds: dict[str, Bound] = {}
    groups: dict[str, list[Member]] = {}
    why: dict[str, int] = {}
    for point in search.points:
        known, apart = search.known(point), _apart(point.experiment)
        for number, split in enumerate(search.splits):
            run = search.run / point.name / f"fold-{number}"
            population = begun.get(named(run), "")
            if not population and (number in known or (run / "checkpoints").exists()):
                continue
            key = f"{json.dumps(compiled(point.experiment))} {split.name}"
            if not apart and key not in bounds:
                bounds[key] = _bind(point.experiment, search.dataset, split)
            if reason := apart or _streamed(bounds[key]):
                why[reason] = why.get(reason, 0) + 1
                continue
            first = bounds[key]
            bound = replace(first, experiment=point.experiment, optimizer=optimizer(point.experiment.training))
            sizes = [dataclasses.asdict(first.system.sizes), first.reading.lengths, len(split.hashtags)]
            key = population or key.removesuffix(split.name) + json.dumps(sizes)
            groups.setdefault(key, []).append(Member(point.name, run, bound))
    for reason, many in why.items():
        say(f"{many} runs go one after the other: {reason}")
    return groups


def _bind(experiment: Experiment, dataset: Dataset, split: Split) -> Bound:
    """Bound to one device, and checked."""
    one = override(experiment, {"parallel.data": -1})
    bound = bind(one, dataset, split, jax.devices()[:1])
    check(bound)
    split.part(PART)
    return bound


def _apart(experiment: Experiment) -> str:
    """Why a run of `experiment` shares no program; empty where it may."""
    if experiment.encoder or find(experiment.system).learned != "steps" or find(experiment.system).zero_shot:
        return f"{experiment.system} is not trained by gradient alone"
    if (experiment.parallel.fsdp, experiment.parallel.tensor) != (1, 1):
        return "parallel.fsdp or parallel.tensor splits each over devices"
    return ""


def _streamed(bound: Bound) -> str:
    """Why a run's posts are at hand for no other; empty where they are on the devices."""
    placement = bound.experiment.data.placement
    fits = placement == "resident" or (placement == "auto" and resident(bound.reading, bound.experiment)[1])
    return "" if fits else "their posts are streamed from the host"


def _begun(search: Search, keep: bool) -> dict[str, str]:
    """The populations under way, by the run folders of their members, in their order.

    One that the search lacks a run of is dropped, and without `keep` all are.
    """
    runs = {f"{point.name}/fold-{i}" for point in search.points for i in range(len(search.splits))}
    found: dict[str, str] = {}
    for file in sorted(search.run.glob(f"population-*/{MEMBERS}")):
        names = read_json(file, "list of members")
        if keep and set(names) <= runs:
            found |= dict.fromkeys(names, file.parent.name)
        else:
            shutil.rmtree(file.parent)
    return found


def _tell(search: Search, groups: Sequence[Sequence[Member]]) -> None:
    """Say how many programs there are, and which fields make them several."""
    runs = sum(map(len, groups))
    if not runs:
        return
    fields = [compiled(point.experiment) for point in search.points]
    several = [f for f in search.points[0].fields if f in fields[0] and len({json.dumps(x[f]) for x in fields}) > 1]
    many = f"{runs} runs: {len(groups)} program{'s' if len(groups) > 1 else ''}"
    say(many + (f"; each value of {' and of '.join(several)} is compiled by itself" if several else ""))


def _train(search: Search, name: str, members: list[Member], places: int, found: Found) -> None:
    """Train one population in the folder `name`, and write what is known of its members' points."""
    folder = search.run / name
    progress = train_population(folder, search.recipe, members, places, search.halving)
    baselines: dict[str, Any] = {}
    for member, p in zip(members, progress):
        if p.failed:
            found.failed.setdefault(member.point, p.failed)
        else:
            number = int(member.folder.name.rpartition("-")[2])
            found.rows.setdefault(member.point, {})[number] = _row(search, member, p, baselines)
    points = {point.name: point for point in search.points}
    for name in dict.fromkeys(m.point for m in members):
        if rows := found.rows.get(name):
            experiment = points[name].experiment
            said = (search.dataset, search.name, search.splits, PART, rows)
            crossvalidate.record(search.run / name, search.recipe, experiment, *said)
    shutil.rmtree(folder)


def _row(search: Search, member: Member, progress: Progress, baselines: dict[str, Any]) -> dict[str, Any]:
    """What `jaxtag.crossvalidate` has of a fold, and evaluation-validation.json in the run folder."""
    split, bound = member.bound.split, member.bound
    among = "seen" if split.info.get("unseen") else "split"
    candidates = candidates_of(bound, among)
    own = bound.experiment.evaluation
    if np.array_equal(candidates, split.hashtags) and not (own.min_predictions or own.threshold):
        if split.name not in baselines:
            baselines[split.name] = compare(bound, _gold(bound))
        document = {"recipe": search.recipe, "part": PART, "split": split.name, **progress.found}
        document |= {"candidates": {"among": among, "count": len(candidates)}, "baselines": baselines[split.name]}
        write_json(member.folder / f"evaluation-{PART}{'' if among == 'split' else '-' + among}.json", document)
    else:
        document = evaluate(member.folder, PART, search.dataset.path, among)
    return {
        "split": split.name,
        "fingerprint": split.fingerprint,
        "run": str(member.folder),
        "steps": progress.step,
        "best_step": progress.memory.best_step,
        "seconds": round(progress.memory.seconds, 2),
        **({"halved": progress.halved} if progress.halved else {}),
        "metrics": {key: value for key, value in document.items() if isinstance(value, int | float)},
        "baselines": document["baselines"],
    }


def _gold(bound: Bound) -> Result:
    """The validation posts and their hashtags, with nothing said of what is recommended but that it is something."""
    split, length = bound.split, bound.reading.lengths["hashtags"]
    rows = split.part(PART)
    labels = columns.gather(bound.reading.columns["hashtags"], rows, length, COLUMNS["hashtags"].padding)
    k = min(max(bound.experiment.evaluation.k), len(split.hashtags))
    ranked = np.zeros((len(rows), k), np.int32)
    return Result({}, rows, ranked, np.append(split.hashtags, -1)[labels], split.hashtags, {})


def check_halving(points: Sequence[Point], metric: str) -> None:
    """Refuse to halve by another metric than points are judged by.

    Raises:
      JaxtagError: a point's evaluation.metric is not `metric`.
    """
    for point in points:
        if (own := point.experiment.evaluation.metric) != metric:
            raise JaxtagError(
                f"--halving goes by evaluation.metric {own}, and points are judged by {metric}",
                f"--evaluation.metric {metric}",
            )
