"""Checks of an experiment's settings: one line for a value that is not possible, with the bound."""

from jaxtag.errors import JaxtagError, nearest
from jaxtag.experiment import Experiment, Training, fields_of

POSITIVE = (
    "data.length",
    "data.history",
    "data.history_length",
    "training.batch",
    "training.accumulate",
    "training.plateau_factor",
    "training.plateau_patience",
    "training.dispatch_seconds",
    "evaluation.batch",
    "parallel.multiple",
)
DECODED = ("model.most", "model.beam")  # positive too, of systems that say hashtags one after the other
NOT_NEGATIVE = (
    "data.words",
    "training.accumulator",
    "training.by_length",
    "training.steps",
    "training.epochs",
    "training.patience",
    "training.clip",
    "training.l2",
    "training.evaluate_every",
    "training.checkpoint_steps",
    "training.weight_decay",
    "training.learning_rate",
    "training.warmup",
    "training.drop_after",
    "training.rows",
    "training.head_posts",
    "training.seed",
    "evaluation.min_predictions",
)
EMBEDDED = ("model.margin",)  # above 0 too, of systems that compare views
SHARES = (
    "training.smoothing",
    "training.plateau_factor",
    "model.dropout",
    "evaluation.threshold",
)  # 0 or more, below 1


def validate(experiment: Experiment) -> Experiment:
    """The experiment itself, once every value is possible.

    Raises:
      JaxtagError: one is not; the message has the field, its value and the bound.
    """
    flat = fields_of(experiment)
    for key in POSITIVE + (DECODED if "model.beam" in flat else ()) + (EMBEDDED if "model.margin" in flat else ()):
        if not flat[key] > 0:
            raise JaxtagError(f"{key} is {flat[key]}; it must be above 0")
    for key in NOT_NEGATIVE:
        if not 0 <= flat[key] < float("inf"):
            raise JaxtagError(f"{key} is {flat[key]}; it must be 0 or more")
    if flat["training.seed"] >= 2**32:
        raise JaxtagError(f"training.seed is {flat['training.seed']}; it must be below {2**32}")
    for key in SHARES:
        if key in flat and not 0 <= flat[key] < 1:
            raise JaxtagError(f"{key} is {flat[key]}; it must be at least 0 and below 1")
    _check_update(experiment.training)
    if not experiment.evaluation.k or min(experiment.evaluation.k) < 1:
        raise JaxtagError(f"evaluation.k is {experiment.evaluation.k}; it needs cut-offs of 1 or more")
    check_metric(experiment.evaluation.metric, experiment.evaluation.k)
    sizes = (experiment.parallel.data, experiment.parallel.fsdp, experiment.parallel.tensor)
    if any(s < 1 and s != -1 for s in sizes) or sizes.count(-1) > 1:
        raise JaxtagError(
            f"the mesh is data {sizes[0]}, fsdp {sizes[1]}, tensor {sizes[2]}; "
            "each must be 1 or more, and only one may be -1"
        )
    if experiment.encoder:
        try:
            validate(experiment.encoder)
        except JaxtagError as error:
            raise JaxtagError(f"of the encoder, {error.message}", error.mend) from None
    return experiment


def _check_update(training: Training) -> None:
    """Refuse settings of the update that do not go together."""
    t = training
    for name, parts in (("accumulate", t.accumulate), ("by_length", t.accumulate * (t.by_length or 1))):
        if t.batch % parts:
            raise JaxtagError(
                f"training.batch is {t.batch}, which does not divide into the {parts} parts that training.{name} makes",
                f"make it a multiple of {parts}",
            )
    if t.rows and t.optimizer in ("adam", "bert_adam"):
        raise JaxtagError(
            f"training.rows is {t.rows}, but {t.optimizer} moves every row of a table at every step",
            "--training.optimizer lazy_adam, a rule of its own, or --training.rows 0",
        )
    if t.optimizer == "lazy_adam" and not t.rows:
        raise JaxtagError(
            "training.optimizer lazy_adam needs training.rows, which is 0",
            "--training.rows 16384, or as many words as a batch has at most",
        )
    if t.schedule == "noam" and not t.warmup:
        raise JaxtagError("training.schedule noam needs training.warmup, which is 0", "--training.warmup 4000")
    if t.schedule == "drop" and not t.drop_after:
        raise JaxtagError("training.schedule drop needs training.drop_after, which is 0", "--training.drop_after 15")
    if t.schedule == "plateau" and 0 < t.patience <= t.plateau_patience:
        raise JaxtagError(
            f"training.patience is {t.patience}, training.plateau_patience {t.plateau_patience}: training would "
            "stop before the learning rate is ever lowered",
            f"--training.patience 0, which never stops early, or one above {t.plateau_patience}",
        )


def check_metric(metric: str, ks: tuple[int, ...]) -> None:
    """Refuse a metric that an evaluation at the cut-offs `ks` does not give.

    Raises:
      JaxtagError: naming the nearest one.
    """
    known = [f"{name}@{k}" for name in ("precision", "recall", "f1", "accuracy") for k in ks]
    if metric not in known:
        raise JaxtagError(f"no metric {metric!r} at cut-offs {', '.join(map(str, ks))}", nearest(metric, known))
