"""Experiment: everything that decides a run's numbers, as nested frozen dataclasses.

A recipe (`jaxtag.recipes`) gives one, dotted overrides change single fields, `jaxtag.checks` checks them all.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jaxtag.errors import JaxtagError, nearest
from jaxtag.files import read_json

FORMAT = 1  # of experiment.json


@dataclass(frozen=True)
class Data:
    """What is read of a post.

    Attributes:
      length: words of a post read at most; a split whose posts are all shorter is read at their length.
      history: of systems that read it, how many of the author's latest strictly earlier posts.
      history_length: words read of each of them at most.
      words: most used words that have a row of the word table; 0 takes all of the split's.
      vectors: name of the split's word vectors that the word table, and a model's other tables of words, start from;
        empty starts at random.
      extractor: of systems that read images, which features of them (`jaxtag-prep images`); of several, separated by
        commas, vectors are put side by side.
      hashtag_order: of systems that learn hashtags as a sequence: the `author`'s; `shuffled`, each post's once;
        `shuffled_each_time` that a post is trained on.
      placement: where the columns live while training: `resident` on the devices, `streamed` from the
        host, or `auto`: resident when they take at most `resident_mib`.
      resident_mib: what `auto` allows on each device, in MiB.
    """

    length: int = 40
    history: int = 5
    history_length: int = 52
    words: int = 0
    vectors: str = ""
    extractor: str = ""
    hashtag_order: Literal["author", "shuffled", "shuffled_each_time"] = "author"
    placement: Literal["auto", "resident", "streamed"] = "auto"
    resident_mib: int = 4096


@dataclass(frozen=True)
class Training:
    """How a gradient system learns.

    Attributes:
      objective: `pairs`, cross-entropy over every (post, hashtag) pair; `single`, over posts with one hashtag;
        `random_one`, over one hashtag drawn of a post each time it is seen; `sigmoid`, binary cross-entropy of each
        hashtag; `sequence`, cross-entropy of each hashtag after those before it; `hinge`, views of a post against
        those of the other posts of its batch.
      optimizer: `sgd`, `adam`, `lazy_adam`, `adagrad` or `bert_adam` (`jaxtag.training.optimizers`).
      accumulator: what AdaGrad's sums of squares start from.
      learning_rate, weight_decay, l2: steps of the update; decay is decoupled, l2 enters the gradient.
      schedule: of the learning rate (`jaxtag.training.schedules`): `constant`; `linear`, down to 0 at the last
        step; `noam`, whose peak learning_rate is; `plateau`, lowered when the validation metric stops rising; `drop`,
        lowered once, after drop_after epochs.
      warmup: steps over which the rate rises from 0; below 1, that share of all steps.
      plateau_factor, plateau_patience: `plateau` multiplies the rate by the one after so many evaluations, the
        other, without a better validation metric; `drop` multiplies by plateau_factor too.
      drop_after: of `drop`, epochs at the first rate.
      smoothing: share of the target spread evenly over the hashtags.
      clip: largest global gradient norm; 0 does not clip.
      batch: posts a step, over all devices.
      accumulate: equal parts that a batch is computed in, one after the other, to save memory; no number changes.
      by_length: equal parts that a batch, or an accumulated part, is sorted into by the posts' lengths, each computed
        no longer than its longest post; with 1 or more, recurrent layers on one CPU device leave padding out
        (`jaxtag.training.parts`). 0: neither.
      precision: of the computation: `float32`, or `bfloat16` with parameters, their averages and the loss in
        float32.
      rows: rows that a step may touch of each large table indexed by its batch, which then costs no more than
        those rows (`jaxtag.training.rows`); a batch with more takes a slower way to the same numbers. 0: dense.
      head_posts: posts whose scores of all hashtags a softmax head holds at a time, for 100,000 hashtags and more; no
        number changes but by rounding (`jaxtag.layers.blocked_softmax`). 0: the whole batch's.
      epochs: passes over the training part; a fraction is allowed.
      steps: steps in all; 0 takes `epochs`.
      evaluate_every: steps between evaluations on the validation part; 0 evaluates after every epoch.
      patience: evaluations without a better validation metric before training stops; 0 never stops early.
      checkpoint_minutes, checkpoint_steps: minutes and steps between checkpoints, beside those at every evaluation;
        checkpoint_steps 0 goes by minutes alone.
      dispatch_seconds: about how long the device works before the host looks again.
      tensorboard: whether the run's metrics are written to RUN/tensorboard too.
      seed: of initial values, order and dropout.
    """

    objective: Literal["pairs", "single", "random_one", "sigmoid", "sequence", "hinge"] = "pairs"
    optimizer: Literal["sgd", "adam", "lazy_adam", "adagrad", "bert_adam"] = "adam"
    accumulator: float = 0.0
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    l2: float = 0.0
    schedule: Literal["constant", "linear", "noam", "plateau", "drop"] = "constant"
    warmup: float = 0.0
    plateau_factor: float = 0.1
    plateau_patience: int = 5
    drop_after: float = 0.0
    smoothing: float = 0.0
    clip: float = 5.0
    batch: int = 64
    accumulate: int = 1
    by_length: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    rows: int = 0
    head_posts: int = 0
    epochs: float = 50.0
    steps: int = 0
    evaluate_every: int = 0
    patience: int = 5
    checkpoint_minutes: float = 10.0
    checkpoint_steps: int = 0
    dispatch_seconds: float = 1.0
    tensorboard: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Evaluation:
    """How a system is judged.

    Attributes:
      k: cut-offs of precision, recall, F1 and accuracy.
      metric: what early stopping and the best checkpoint go by, such as `f1@1`.
      batch: posts at a time, over all devices.
      min_predictions: posts with fewer recommendations do not count.
      threshold: of systems that give each hashtag a probability of its own, what it is to be at least for the hashtag
        to be recommended; 0 recommends the k most probable.
    """

    k: tuple[int, ...] = (1, 2, 3, 4, 5)
    metric: str = "f1@1"
    batch: int = 512
    min_predictions: int = 0
    threshold: float = 0.0


@dataclass(frozen=True)
class Parallel:
    """The mesh, and how tables are made to fit it.

    Attributes:
      data, fsdp, tensor: devices along each axis; −1, for one of them, takes what is left.
      multiple: word and hashtag tables are rounded up to a multiple of this, so that a run's shapes, and
        so its numbers and checkpoints, are the same on every mesh whose axes divide it.
    """

    data: int = -1
    fsdp: int = 1
    tensor: int = 1
    multiple: int = 8


@dataclass(frozen=True)
class Experiment:
    """A run's settings, whole.

    Attributes:
      system: name in `jaxtag.systems.SYSTEMS`.
      model: the system's own settings, of the dataclass that the table names.
      encoder: of a zero-shot system, the gradient system whose features or probabilities it starts from, trained first
        and on the same mesh: its own data.length and data.words are read by both. None, for the others, and for mean
        word vectors instead.
    """

    system: str
    model: Any
    data: Data = field(default_factory=Data)
    training: Training = field(default_factory=Training)
    evaluation: Evaluation = field(default_factory=Evaluation)
    parallel: Parallel = field(default_factory=Parallel)
    encoder: "Experiment | None" = None

    @property
    def network(self) -> "Experiment":
        """The experiment that says how posts are read, and of what network: the encoder, where there is one."""
        return self.encoder or self


def fields_of(experiment: Experiment) -> dict[str, Any]:
    """Every field as dotted name to value, such as `training.batch`; an encoder's are `encoder.training.batch`."""
    flat: dict[str, Any] = {}
    for part in dataclasses.fields(experiment):
        value = getattr(experiment, part.name)
        if isinstance(value, Experiment):
            flat |= {"encoder.system": value.system} | {f"encoder.{k}": v for k, v in fields_of(value).items()}
        elif dataclasses.is_dataclass(value):
            flat |= {f"{part.name}.{f.name}": getattr(value, f.name) for f in dataclasses.fields(value)}
    return flat


def override(experiment: Experiment, overrides: Mapping[str, Any]) -> Experiment:
    """`experiment` with dotted fields replaced; strings are read as the field's type.

    Raises:
      JaxtagError: no such field, or a value that is not of its type.
    """
    for key, value in overrides.items():
        known = fields_of(experiment)
        if key not in known or key == "encoder.system":
            raise JaxtagError(f"no field {key!r} in this experiment", nearest(key, known))
        part, _, name = key.partition(".")
        if part == "encoder":
            assert experiment.encoder  # or `key` were no field
            experiment = dataclasses.replace(experiment, encoder=override(experiment.encoder, {name: value}))
            continue
        inner = getattr(experiment, part)
        hint = typing.get_type_hints(type(inner))[name]
        changed = dataclasses.replace(inner, **{name: _convert(key, value, hint)})
        experiment = dataclasses.replace(experiment, **{part: changed})
    return experiment


def to_json(experiment: Experiment) -> dict[str, Any]:
    """The experiment as plain JSON values; without an encoder, it does not name one."""
    found = dataclasses.asdict(dataclasses.replace(experiment, encoder=None))
    del found["encoder"]
    return found | ({"encoder": to_json(experiment.encoder)} if experiment.encoder else {})


def read_run(run: Path) -> dict[str, Any]:
    """The experiment.json of a run folder, as `jaxtag.runs.begin` writes it.

    Raises:
      JaxtagError: there is none, it is damaged, or of another format.
    """
    file, mend = run / "experiment.json", "put it back from a copy, or train again in a new folder"
    if not file.is_file():
        raise JaxtagError(f"{run} is not a run folder: it has no experiment.json", "train one with jaxtag train")
    info = read_json(file, "run description", mend)
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        found = info.get("format") if isinstance(info, dict) else None
        raise JaxtagError(f"{file} has format {found}, this jaxtag reads {FORMAT}", "train again with this version")
    for key, kind in (("recipe", str), ("experiment", dict), ("dataset", dict), ("split", dict)):
        if not isinstance(info.get(key), kind):
            raise JaxtagError(f"{file} has no {key}", mend)
    if not isinstance(info["experiment"].get("system"), str):
        raise JaxtagError(f"{file} does not say the system", mend)
    for key, inner in (("dataset", ("path", "name", "fingerprint")), ("split", ("name", "fingerprint"))):
        if any(not isinstance(info[key].get(name), str) for name in inner):
            raise JaxtagError(f"{file} does not say the {key}'s {', '.join(inner)}", mend)
    return info


def _convert(key: str, value: Any, hint: Any) -> Any:
    """`value`, a string or a JSON value, as the type `hint` of field `key`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in arguments:
            raise JaxtagError(f"{key} cannot be {value!r}", nearest(str(value), map(str, arguments)))
        return value
    if origin is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise JaxtagError(f"{key} cannot be {parts!r:.80}", "write values with commas between them")
        return tuple(_convert(key, part, arguments[0]) for part in parts)
    if isinstance(hint, types.UnionType):
        raise TypeError(f"{key}: fields of several types are not supported")
    if hint is bool and isinstance(value, str):
        if value.lower() not in ("true", "false"):
            raise JaxtagError(f"{key} cannot be {value!r}", "write true or false")
        return value.lower() == "true"
    try:
        return hint(value)
    except (TypeError, ValueError, OverflowError):
        raise JaxtagError(f"{key} cannot be {value!r:.80}", f"write a {hint.__name__}") from None
