"""A study: Optuna chooses points of a space one after the other, and those that fall behind are pruned.

A trial falls behind when its value is below the median of those that came to their end: on one split at an evaluation,
where its value is the best so far; on folds after one of them, where its value is the mean over those that are done.

DIR/study.json        what the study is of
DIR/study.journal     its trials, where no other storage is given
DIR/trial-<n>/        a point, as in `jaxtag.search.grid`; its parameters are the trial's
DIR/sweep.json, …     as of a grid: all trials, best first, and the best one's test metrics

Several workers, here or on machines that see the same storage, take turns at asking for trials. One that is killed
leaves its trial to whoever starts in the same folder next. A worker's draws depend on training.seed, the trial's number
and the trials before it; a worker alone finds the same trials again.
"""

import contextlib
import fcntl
import json
import statistics
import uuid
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from jaxtag.crossvalidate import find_folds, over
from jaxtag.data.dataset import open_dataset
from jaxtag.errors import Diverged, JaxtagError
from jaxtag.experiment import Experiment, fields_of
from jaxtag.files import fingerprint, read_json, write_json
from jaxtag.runs import FREE, LENGTH
from jaxtag.search.grid import JUDGED, check_folder, checked, concluded
from jaxtag.search.ranges import Range, chosen, suggested, to_text
from jaxtag.search.space import Point, points
from jaxtag.search.storage import is_address, opened, public, reached
from jaxtag.search.together import Search
from jaxtag.systems import find
from jaxtag.training.logs import say
from jaxtag.training.loop import watched

FORMAT = 1
WHERE, ROW = "where", "row"  # of a trial: the folder it is trained in, and what became of it
FIRST = 5  # trials that come to their end before others are pruned
KEPT = {*FREE} - {*LENGTH, "training.patience"}  # what a study may go on under other values of


class Pruned(Exception):
    """A trial has fallen behind the others and stops."""


@dataclass(frozen=True)
class Space:
    """What a study searches.

    Attributes:
      recipe, experiment: that trials change.
      fields: the range or choices of each field.
    """

    recipe: str
    experiment: Experiment
    fields: Mapping[str, Range | tuple[Any, ...]]


def study(
    run: Path, space: Space, trials: int, data: Path, name: str, folds: int = 0, metric: str = "", storage: str = ""
) -> dict[str, Any]:
    """Train so many trials in all, or what is left of them, and find the best.

    Args:
      run: folder; made if it is not there.
      space: what is searched.
      trials: how many, over all workers and starts; those pruned, and those that diverged, count.
      data: dataset folder.
      name, folds, metric: as of `jaxtag.search.grid.sweep`. Trials on folds are pruned between them.
      storage: a database's address or a journal file; empty for study.journal in `run`.

    Returns:
      As `jaxtag.search.grid.sweep`; of a worker that leaves others at work, without `test`.

    Raises:
      JaxtagError: Optuna is not installed, the storage cannot be opened, it or the folder has a study of another
        experiment, or all trials failed.
      Lost: the storage failed later; the same call goes on from there.
      Preempted: SIGTERM or SIGINT came; the same call goes on from there.
    """
    optuna = _optuna()
    if trials < 1:
        raise JaxtagError(f"--study is {trials}; it must be 1 or more")
    dataset = open_dataset(data)
    metric = checked(metric, [Point("", {}, space.experiment)])
    splits = find_folds(dataset, name, folds) if folds else [dataset.split(name)]
    run.mkdir(parents=True, exist_ok=True)
    check_folder(run)
    identity = {
        "recipe": space.recipe, "metric": metric, "dataset": dataset.fingerprint,
        "splits": ",".join(split.fingerprint for split in splits),
        **{key: value for key, value in fields_of(space.experiment).items() if key not in {*KEPT, *space.fields}},
        **{f"space of {key}": value for key, value in to_text(space.fields).items()},
    }  # fmt: skip
    identity = json.loads(json.dumps(identity))
    search = Search(run, space.recipe, [], dataset, splits, name or splits[0].name)
    where = storage or str(run / "study.journal")
    with reached(optuna, where):
        with _turn(run):
            found = _open(optuna, run, identity, where)
        while given := _next(optuna, found, run, trials, space.experiment.training.seed):
            trial, claim = given
            with claim:
                _run(optuna, found, trial, search, space, metric)
        return _finish(optuna, found, search, space, metric)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise JaxtagError("Optuna is not installed", "pip install 'jaxtag[study]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _open(optuna: Any, run: Path, identity: dict[str, Any], where: str) -> Any:
    """The study in its storage; made if it is not there.

    Raises:
      JaxtagError: the storage cannot be opened, or holds, as the folder may, studies of other experiments alone.
    """
    if (run / "study.json").is_file():
        old = read_json(run / "study.json", "study")
        _check_same(run / "study.json", old.get("experiment") if isinstance(old, dict) else None, identity)
    name, named = f"jaxtag-{fingerprint(identity)}", public(where)
    kept, before = opened(optuna, where)
    own = not is_address(where) or where.startswith("sqlite")  # a server has anybody's studies
    if own and before and name not in [s.study_name for s in before]:
        _check_same(named, before[0].user_attrs.get("experiment"), identity)
    write_json(run / "study.json", {"format": FORMAT, "study": name, "storage": named, "experiment": identity})
    found = optuna.create_study(storage=kept, study_name=name, direction="maximize", load_if_exists=True)
    found.set_user_attr("experiment", identity)
    return found


def _check_same(where: Any, before: Any, now: dict[str, Any]) -> None:
    if before == now:
        return
    mend = "name a new folder with --run, another --storage, or give the same settings"
    if not isinstance(before, dict):
        raise JaxtagError(f"{where} is no study of jaxtag", mend)
    keys = [*now, *(key for key in before if key not in now)]
    differ = [f"{k} {before.get(k)} -> {now.get(k)}" for k in keys if before.get(k) != now.get(k)]
    raise JaxtagError(f"{where} is a study of another experiment: {', '.join(differ)}", mend)


@contextlib.contextmanager
def _turn(run: Path) -> Iterator[str]:
    """Workers in one folder ask for trials one at a time; what all of them, on whatever machine, call the folder."""
    with open(run / ".turn", "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if not (name := file.read()):
            file.write(name := uuid.uuid4().hex)
            file.flush()
        yield f"{name}:{run.resolve()}"


def _claimed(run: Path, number: int) -> IO[str] | None:
    """A file that is this worker's as long as it is open; None where another worker has it."""
    file = open(run / f".{name_of(number)}", "w")  # noqa: SIM115 (open for as long as the trial)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def name_of(number: int) -> str:
    """What a trial's folder is called."""
    return f"trial-{number:04}"


def _next(optuna: Any, found: Any, run: Path, trials: int, seed: int) -> tuple[Any, IO[str]] | None:
    """A trial that a killed worker left in this folder, or a new one, and its claim; None when none is left to do."""
    with _turn(run) as here:
        every = found.get_trials(deepcopy=False)
        for old in every:
            left = old.state == optuna.trial.TrialState.RUNNING and old.user_attrs.get(WHERE) == here
            if left and (claim := _claimed(run, old.number)):
                say(f"trial {old.number} goes on")
                return optuna.trial.Trial(found, old._trial_id), claim
        if len(every) >= trials:
            return None
        trial = found.ask()
        if trial.number >= trials:  # a worker in another folder asked at the same moment
            found.tell(trial, state=optuna.trial.TrialState.FAIL)
            return None
        # Anew for each trial: workers that start alike would draw alike.
        found.sampler = optuna.samplers.TPESampler(seed=(seed * 1_000_003 + trial.number) % 2**32)
        trial.set_user_attr(WHERE, here)
        claim = _claimed(run, trial.number)
        assert claim
        return trial, claim


def _run(optuna: Any, found: Any, trial: Any, search: Search, space: Space, metric: str) -> None:
    """Train a trial, and tell the study what became of it."""
    states, folds = optuna.trial.TrialState, len(search.splits)
    (before,) = (old for old in found.get_trials(deepcopy=False) if old.number == trial.number)
    seen = dict(before.intermediate_values)  # by step, or on folds by how many are done
    fields = suggested(trial, space.fields)
    said = ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in fields.items()
    )
    say(f"trial {trial.number}: {said}")
    best = lambda: seen[max(seen)] if folds > 1 else max(seen.values())  # noqa: E731

    def watch(step: int, metrics: Mapping[str, float]) -> None:
        seen[step] = metrics[metric]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a trial that goes on has reported steps before
            trial.report(metrics[metric], step)
        if not (folds > 1 and step == folds) and _behind(optuna, found, step, best()):
            raise Pruned

    experiment = space.experiment
    by_step = folds == 1 and not experiment.encoder and find(experiment.system).learned == "steps"
    try:
        (point,) = points(experiment, [fields])  # a field's value may be impossible beside another's
        with watched(watch) if by_step else contextlib.nullcontext():
            folder = search.run / name_of(trial.number)
            given = (search.recipe, point.experiment, search.dataset, search.name, search.splits, JUDGED)
            row = over(folder, *given, after=watch if folds > 1 else None)
        trial.set_user_attr(ROW, {key: row[key] for key in ("mean", "spread", "folds")})
        found.tell(trial, row["mean"][metric])
    except Pruned:
        say(f"trial {trial.number} is pruned " + (f"after fold {max(seen)}" if folds > 1 else f"at step {max(seen)}"))
        trial.set_user_attr(ROW, {"pruned": max(seen), "mean": {metric: best()}})
        found.tell(trial, state=states.PRUNED)
    except JaxtagError as error:
        why = "diverged" if isinstance(error, Diverged) else "impossible"
        say(f"trial {trial.number} {'diverged' if why == 'diverged' else 'is impossible'}: {error}")
        trial.set_user_attr(ROW, {"failed": error.message, "why": why})
        found.tell(trial, state=states.FAIL)


def _behind(optuna: Any, found: Any, step: int, value: float) -> bool:
    """Whether `value` is below the median of what trials that came to their end had at `step`.

    It is what Optuna's median pruner asks, but of a `value` that is given: that one takes a trial's highest value, and
    of means over ever more folds only the last counts.
    """
    ended = found.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    others = [trial.intermediate_values[step] for trial in ended if step in trial.intermediate_values]
    return len(ended) >= FIRST and bool(others) and value < statistics.median(others)


def _finish(optuna: Any, found: Any, search: Search, space: Space, metric: str) -> dict[str, Any]:
    """The trials that ended as a search's document; of the worker that ends last, with the best one's test metrics."""
    rows, every = [], found.get_trials(deepcopy=False)
    for trial in every:
        if ROW in trial.user_attrs:
            fields = chosen(trial.params, space.fields)
            folder = Path(trial.user_attrs[WHERE].partition(":")[2]) / name_of(trial.number)
            rows.append({"point": name_of(trial.number), "fields": fields, "run": str(folder), **trial.user_attrs[ROW]})
    running = sum(trial.state == optuna.trial.TrialState.RUNNING and WHERE in trial.user_attrs for trial in every)
    if not any("folds" in row for row in rows):
        if running:
            said = f"no trial has come to its end yet, and {running} are trained by other workers"
            raise JaxtagError(said, "give the same command again when they are done, or a larger --study")
        first = rows[0].get("failed", "pruned") if rows else "killed before it was begun"
        raise JaxtagError(f"none of {len(every)} trials came to its end; the first: {first}")
    rank = lambda row: ("folds" not in row, "failed" in row, -row.get("mean", {}).get(metric, 0.0))  # noqa: E731
    rows.sort(key=rank)
    if running:
        say(f"{running} trials are still trained by other workers; the one that ends last tests the best")
    (best,) = points(space.experiment, [rows[0]["fields"]])
    best = replace(best, name=rows[0]["point"])
    tested = not running and (search.run / best.name).is_dir()
    with _turn(search.run):
        return concluded(search, rows, best, metric, tested)
