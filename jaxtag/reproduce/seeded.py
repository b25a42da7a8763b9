"""A row of a table: a recipe run once a seed, and the mean and spread of its metrics."""

import statistics
from pathlib import Path
from typing import Any

from jaxtag.crossvalidate import over
from jaxtag.data.dataset import Dataset, Split
from jaxtag.experiment import Experiment, override
from jaxtag.systems import find

KS = (1, 2, 3, 4, 5)
AT_K = tuple(f"{score}@{k}" for k in KS for score in ("precision", "recall", "f1", "accuracy"))
SEEDLESS = "fit"  # systems that a seed changes nothing of, but for an encoder's


def folders(folder: Path, experiment: Experiment, seeds: int) -> list[Path]:
    """A folder for each run of a row, `folder`/seed-<i>: one, where no seed changes a run."""
    once = find(experiment.system).learned == SEEDLESS and experiment.encoder is None
    return [folder / f"seed-{seed}" for seed in range(1 if once else seeds)]


def over_seeds(
    folder: Path, recipe: str, experiment: Experiment, dataset: Dataset, split: Split, seeds: int
) -> dict[str, Any]:
    """A row's runs, a seed each, or what is left of them.

    Args:
      folder: of the row; the runs are in seed-<i>/fold-0 below it.
      recipe: its whole name, such as `hmemn2n/svm`.
      experiment: what is run.
      dataset, split: on what.
      seeds: how many runs, where a seed changes them.

    Returns:
      `metrics` at the first five cut-offs, `baselines` by name, each with `mean` and `spread`, the standard deviation
      over n − 1, or 0 of one run; and how many `seeds`.
    """
    keys = ["training.seed", *(["encoder.training.seed"] if experiment.encoder else [])]
    runs = [
        over(run, recipe, override(experiment, dict.fromkeys(keys, seed)), dataset, split.name, [split])
        for seed, run in enumerate(folders(folder, experiment, seeds))
    ]
    values = {m: [run["mean"][m] for run in runs] for m in AT_K if m in runs[0]["mean"]}
    baselines = {
        b: {m: {"mean": v, "spread": 0.0} for m, v in found["mean"].items() if m in AT_K}
        for b, found in runs[0]["baselines"].items()
    }
    return {"metrics": {m: spread(v) for m, v in values.items()}, "baselines": baselines, "seeds": len(runs)}


def spread(values: list[float]) -> dict[str, float]:
    """Mean and standard deviation of values, the latter 0 of one."""
    return {"mean": statistics.fmean(values), "spread": statistics.stdev(values) if len(values) > 1 else 0.0}
