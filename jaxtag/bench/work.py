"""What a training step has to do: its operations, and how much of them is of posts and not of padding."""

from dataclasses import replace

import jax
import numpy as np

from jaxtag.bench.posts import Posts
from jaxtag.building import build
from jaxtag.data.image_columns import as_read
from jaxtag.data.posts import COLUMNS, HISTORY, PAD, WORDPIECES
from jaxtag.experiment import Experiment, Parallel
from jaxtag.parallel.mesh import make_mesh
from jaxtag.plan import flops
from jaxtag.plan.workload import Workload, sizes_of
from jaxtag.training.optimizers import optimizer
from jaxtag.training.state import abstract_state, numbers_of
from jaxtag.training.step import make_train_step

SAMPLED = 4096  # posts that lengths are averaged over


def flops_of_step(experiment: Experiment, workload: Workload) -> int:
    """F, the floating-point operations that a training step asks for, over all devices.

    Two for each multiply-add of the matrix products and convolutions of the forward and backward pass, at the shapes of
    a batch with its padding, counted from the traced step (`jaxtag.plan.flops`). What is computed again to save memory
    (`model.remat`, `training.head_posts`) is not asked for and left out; padding that a program leaves out
    (`training.by_length`) is counted, as in the batch it stands.

    Model FLOP utilisation is F / (t n P): t seconds of a step, n devices, and P operations a second that one of them
    does at most (`jaxtag.plan.peaks`). Times `useful_share` it is that of work on posts alone.
    """
    own = {"head_posts": 0, "by_length": 0, "accumulate": 1, "rows": 0}
    model = replace(experiment.model, remat=False) if hasattr(experiment.model, "remat") else experiment.model
    plain = replace(experiment, model=model, training=replace(experiment.training, **own), parallel=Parallel())
    mesh = make_mesh(plain.parallel, jax.devices()[:1])
    system, rule = build(plain, sizes_of(plain, workload)), optimizer(plain.training)
    numbers = numbers_of(plain, np.zeros(workload.posts, np.int32), workload.hashtags, system.sizes.hashtags)
    types = workload.types().items()
    stored = {name: jax.ShapeDtypeStruct((plain.training.batch, *shape), dtype) for name, (shape, dtype) in types}
    step = make_train_step(system, rule, mesh)
    counted = flops.count(step, abstract_state(system, rule, mesh), numbers, jax.eval_shape(as_read, stored))
    return counted["products"]


def mean_lengths(posts: Posts, decoded: bool = False) -> dict[str, float]:
    """How many values a training post has on average, by column that is padded; of history, words of an earlier post.

    Also `packed`, words of all of a post's history; and where hashtags are `decoded` one after the other, how many.
    """
    rows = posts.rows[:: max(1, len(posts.rows) // SAMPLED)]
    names = ("tokens", WORDPIECES, HISTORY) + (("hashtags",) if decoded else ())
    batch, found = posts.reading.stored(rows), {}
    for name in (name for name in names if name in batch):
        many = (batch[name] != (COLUMNS[name].padding if name == "hashtags" else PAD)).sum(-1)
        found[name] = float(many.mean())
        if name == HISTORY:
            found["packed"] = float(many.sum(-1).mean())
    return found


def useful_share(experiment: Experiment, workload: Workload, means: dict[str, float], asked: int) -> float:
    """The share of a step's operations that is not padding: what F is where every post has the mean length, over F.

    Images, regions and topics count as whole. What grows with the square of a length is counted at the square of the
    mean, which is less than the mean of the squares, so that the share is, if anything, too small.

    Args:
      experiment, workload: as of `flops_of_step`.
      means: from `mean_lengths`.
      asked: F.
    """
    whole = {name: max(1, round(value)) for name, value in means.items()}
    lengths = {name: whole.get(name, length) for name, length in workload.lengths.items()}
    short = replace(workload, lengths=lengths, packed=whole.get("packed", workload.packed))
    return flops_of_step(experiment, short) / asked if asked else 1.0
