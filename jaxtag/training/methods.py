"""How each fitted method learns from the training posts, and chooses the settings that it is not given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.data import columns
from jaxtag.data.batches import Source
from jaxtag.data.columns import positions_in
from jaxtag.estimators import choosing, conse, eszsl, standard
from jaxtag.estimators.methods import METHODS, most_probable, scaled
from jaxtag.estimators.moments import Moments
from jaxtag.runs import Bound
from jaxtag.training.branches import branch
from jaxtag.training.choice import HeldOut, folds_of, hits, without
from jaxtag.training.encoders import train_encoder
from jaxtag.training.features import Features
from jaxtag.training.restored import given
from jaxtag.training.vectors import usable_vectors
from jaxtag.zero_shot import Fitted

Learned = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]  # arrays, what was chosen, what was tried
DECAYS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)
MOST = (1, 2, 3, 5, 10, 20, 50, 100)
_DEM = METHODS["dem"].query, METHODS["dem"].table


@dataclass(frozen=True)
class Task:
    """A fitted system, and what it learns from.

    Attributes:
      run: its folder, in which the encoder is trained.
      bound: the system.
      usable: labels of the seen hashtags with a vector.
      source: of its posts.
    """

    run: Path
    bound: Bound
    usable: np.ndarray
    source: Source

    @property
    def settings(self) -> Any:
        """The method's."""
        return self.bound.experiment.model

    @property
    def system(self) -> Fitted:
        """The system."""
        assert isinstance(self.bound.system, Fitted)
        return self.bound.system

    @cached_property
    def vectors(self) -> np.ndarray:
        """Of the hashtags trained on, by label `[L, s]`, zeros for those without."""
        return usable_vectors(self.bound)[: len(self.bound.split.hashtags)]

    @cached_property
    def features(self) -> Features:
        """Of the run's own encoder."""
        return self._features(self.run / "encoder", self.bound, self.system, np.arange(len(self.vectors)))

    def features_of(self, fold: HeldOut) -> Features:
        """What a fold's choice goes by: the run's own, or those of an encoder that is trained for it now."""
        if self.bound.encoder is None or self.settings.encoders == "shared":
            return self.features
        inner = replace(self.bound, encoder=without(self.bound, fold))
        assert inner.encoder is not None
        at = f"choosing/fold-{fold.number}"
        train_encoder(self.run, inner, at)
        return self._features(self.run / at, inner, replace(self.system, encoder=inner.encoder.system), fold.kept)

    def sums(self, features: Features, rows: np.ndarray, labels: np.ndarray) -> "Sums":
        """Over the posts `rows` of their hashtags `labels`: as many passes as the settings need."""
        s, what = self.settings, f"features of {self.bound.experiment.network.system}"
        moments, centre = features.moments(rows, labels, what), None
        if s.centre:
            centre = moments.mean
            moments = features.moments(rows, labels, what, centre)
        weighted = moments
        if self.system.entry.name == "eszsl" and s.balance:  # DEM's means need no sums of their own
            weights = standard.balance(moments.counts, s.balance)
            weighted = features.moments(rows, labels, what, centre, weights)
        return Sums(centre, moments, weighted)

    def pairs(self, rows: np.ndarray) -> np.ndarray:
        """How many of the posts `rows` have each hashtag that is trained on `[L]`."""
        dataset, split = self.bound.dataset, self.bound.split
        column = positions_in(dataset.column("hashtags"), split.hashtags, len(dataset.hashtags))
        found = columns.gather(column, rows, int(column.lengths(rows).max(initial=1)), -1)
        return np.bincount(found[found >= 0], minlength=len(split.hashtags))

    def tried(self, folds: Sequence[HeldOut], scores: np.ndarray, **values: Sequence[float]) -> dict[str, Any]:
        """What fitted.json says of a choice; `scores` are of shape `[folds, …values]`."""
        said: dict[str, Any] = {name: list(map(float, grid)) for name, grid in values.items()}
        said |= {"accuracy@1": scores.mean(0).tolist(), "by_fold": scores.tolist()}
        said["held_out"] = [[self._name(label) for label in fold.held] for fold in folds]
        said["ranked_posts"] = [len(fold.rank) for fold in folds]
        said["encoders"] = self.settings.encoders if self.bound.encoder else "none"
        return said

    def _name(self, label: int) -> str:
        return self.bound.dataset.hashtags.entries[self.bound.split.hashtags[label]]

    def _features(self, encoder: Path, bound: Bound, system: Fitted, known: np.ndarray) -> Features:
        params, collections = given(encoder, bound)
        params |= {"fitted": {"vectors": jnp.asarray(self.vectors[known])}}  # as many as the encoder has
        return Features(bound, self.source, system, params, collections)


@dataclass(frozen=True)
class Sums:
    """What a method learns from.

    Attributes:
      centre: μ `[p]`, where features are brought to length one about it; or None.
      moments: of the features.
      weighted: the same, of hashtags as `model.balance` weighs them.
    """

    centre: np.ndarray | None
    moments: Moments
    weighted: Moments

    def kept(self, settings: Any) -> dict[str, np.ndarray]:
        """What ranking needs of the training posts, as the settings want it."""
        found = {} if self.centre is None else {"centre": self.centre.astype(np.float32)}
        return found | (standard.scoring(self.moments) if settings.z_norm else {})


def learn_eszsl(task: Task) -> Learned:
    """W, at the γ and λ that are given or chosen."""
    s = task.settings
    grids = eszsl.GRID_IDENTITY if s.identity else (eszsl.GRID, eszsl.GRID)
    gammas, lams = ((value,) if value else grid for value, grid in zip((s.gamma, s.lam), grids))
    vectors = np.asarray(scaled(s, jnp.asarray(task.vectors)), np.float64)
    solve = partial(
        eszsl.solve,
        neg_label=s.neg_label,
        standardise=s.standardise,
        identity=s.identity,
        centre_labels=s.centre_labels,
    )
    tried: dict[str, Any] = {}
    if len(gammas) * len(lams) > 1:
        folds = folds_of(task.bound, task.usable)
        scores = np.zeros((len(folds), len(gammas), len(lams)))
        for fold in folds:
            features = task.features_of(fold)
            sums = task.sums(features, fold.fit, fold.kept)
            grid, kept = solve(sums.weighted, vectors[fold.kept], gammas, lams), sums.kept(s)
            read = features.rows(fold.rank, sums.centre) - kept.get("z_mean", grid.mean.astype(np.float32))
            held = vectors[fold.held].astype(np.float32)
            for i, j, weights in grid.points():
                table = held @ weights.astype(np.float32).T
                table = np.asarray(standard.table(kept, jnp.asarray(table))) if s.z_norm else table
                scores[fold.number, i, j] = hits(read @ table.T, fold.gold)
        tried = task.tried(folds, scores, gamma=gammas, lam=lams)
        i, j = choosing.best(scores, np.array(gammas), np.array(lams))
        gammas, lams = (gammas[i],), (lams[j],)
    sums = task.sums(task.features, task.bound.split.train, task.usable)
    grid = solve(sums.weighted, vectors[task.usable], gammas, lams)
    return grid.params(grid.weights(0, 0)) | sums.kept(s), {"gamma": gammas[0], "lam": lams[0]}, tried


def learn_conse(task: Task) -> Learned:
    """The vectors of the hashtags that the encoder knows, their weights where they are balanced, and T."""
    most, tried, known, power = task.settings.most, {}, len(task.vectors), task.settings.balance
    weights = standard.balance(task.pairs(task.bound.split.train), power)
    if most == -1:
        folds = folds_of(task.bound, task.usable)
        values = [t for t in MOST if t < min(len(f.kept) for f in folds)] + [known]
        scores = np.zeros((len(folds), len(values)))
        for fold in folds:
            read = task.features_of(fold).rows(fold.rank)
            read = jnp.asarray(read[:, fold.kept] if read.shape[1] > len(fold.kept) else read)
            own = standard.balance(task.pairs(fold.fit), power) if task.settings.encoders == "own" else weights
            read = read * own[fold.kept] if power else read
            table = conse.table(jnp.asarray(task.vectors[fold.held]))
            for i, t in enumerate(values):
                query = conse.query(most_probable(read, t), jnp.asarray(task.vectors[fold.kept]))
                scores[fold.number, i] = hits(np.asarray(query @ table.T), fold.gold)
        tried = task.tried(folds, scores, most=values)
        most = values[_last_best(scores.mean(0))]  # of equal ones the greatest, the paper's
    most = min(most, known) if most else known
    kept = {"balance": weights.astype(np.float32)} if power else {}
    return {"vectors": task.vectors, "most": np.int32(most)} | kept, {"most": most}, tried


def learn_dem(task: Task) -> Learned:
    """W and b of the branch, at the λ that is given or chosen."""
    s, decay, tried = task.settings, task.settings.decay, {}
    vectors, seed = np.asarray(scaled(s, jnp.asarray(task.vectors))), task.bound.experiment.training.seed
    if decay == -1:
        folds = folds_of(task.bound, task.usable)
        scores = np.zeros((len(folds), len(DECAYS)))
        for fold in folds:
            features = task.features_of(fold)
            sums, read = task.sums(features, fold.fit, fold.kept), jnp.asarray(features.rows(fold.rank))
            for i, value in enumerate(DECAYS):
                fitted = branch(s, sums.moments, vectors[fold.kept], value, seed) | sums.kept(s)
                query, table = (f(s, fitted, x) for f, x in zip(_DEM, (read, jnp.asarray(task.vectors[fold.held]))))
                scores[fold.number, i] = hits(np.asarray(query @ table.T), fold.gold)
        tried = task.tried(folds, scores, decay=DECAYS)
        decay = DECAYS[_last_best(scores.mean(0))]  # of equal ones the greatest
    sums = task.sums(task.features, task.bound.split.train, task.usable)
    params = branch(s, sums.moments, vectors[task.usable], decay, seed)
    return jax.device_get(params) | sums.kept(s), {"decay": decay}, tried


def learn_cosine(task: Task) -> Learned:
    """Nothing of hashtags; what the settings need of all training posts."""
    s = task.settings
    if not (s.centre or s.z_norm):
        return {}, {}, {}
    return task.sums(task.features, task.bound.split.train, task.usable).kept(s), {}, {}


def _last_best(scores: np.ndarray) -> int:
    """Position of the greatest score `[n]`, of equal ones the last."""
    return int(np.flatnonzero(scores == scores.max())[-1])


LEARN: dict[str, Callable[[Task], Learned]] = {
    "conse": learn_conse,
    "eszsl": learn_eszsl,
    "dem": learn_dem,
    "cosine": learn_cosine,
}
