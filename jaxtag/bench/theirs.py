"""PyTorch's side of a measurement: the twin's training step, in the fastest of the forms a user could choose."""

import contextlib
import math
import time
from functools import partial
from typing import Any

import numpy as np

from jaxtag.bench import baseline_twins, sequence_twins, twins
from jaxtag.bench.machine import peak_mib
from jaxtag.bench.posts import Posts
from jaxtag.data import order
from jaxtag.data.posts import HISTORY, IMAGE_COLUMNS, TOPICS, WORDPIECES
from jaxtag.errors import JaxtagError
from jaxtag.experiment import Experiment
from jaxtag.plan.workload import sizes_of

BATCHES = 64  # of the same order as ours, made ready in memory: reading costs the twin nothing
IMAGE_BATCHES = 4  # of systems that read images, whose batches take up to 100 MB each
TRIAL_SECONDS = 1.0  # a form is tried for
SPARSE = "sparse"  # of a form: tables' gradients are PyTorch's sparse ones


class Theirs:
    """The twin of a system under training."""

    def __init__(self, experiment: Experiment, posts: Posts, compiled: bool = False):
        """Build the twin and settle on the fastest form; `described` says which.

        Args:
          experiment, posts: as for our side.
          compiled: whether to try `torch.compile` as well.

        Raises:
          JaxtagError: there is no twin, or it cannot do what the experiment asks.
        """
        import torch

        training = experiment.training
        if training.optimizer not in ("adam", "bert_adam", "adagrad") or (training.l2 and training.weight_decay):
            raise JaxtagError(
                "the PyTorch twins train by adam or adagrad, with l2 or weight decay, not by "
                f"{training.optimizer} with l2 {training.l2} and weight decay {training.weight_decay}"
            )
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        if self._device == "cuda":  # on a CPU it would only cost time
            torch.set_default_device(self._device)
            torch.set_float32_matmul_precision("high")  # TF32, as XLA has it
        self._precision = training.precision
        torch.manual_seed(training.seed)
        self._smoothing, self._clip, self._model = training.smoothing, training.clip, experiment.model
        started = time.perf_counter()
        sizes = sizes_of(experiment, posts.workload)
        self._hashtags, self._network = sizes.hashtags, twins.build(experiment, sizes)
        self._run = self._network
        self._network.train()
        self._weights, self._at = [p for p in self._network.parameters() if p.requires_grad], 0
        self._training, self._sparse = training, False
        self._rules = self._make_rules()
        self._batches = self._read(posts, experiment)
        parameters = sum(p.numel() for p in self._network.parameters()) - twins.extra_parameters(
            self._network, experiment
        )
        self._form = "padded"
        forms = twins.LENGTHS[experiment.system]
        if training.optimizer == "adagrad":  # whose sparse gradients touch, as ours, the rows of a batch alone
            forms = (*forms, *(f"{form} {SPARSE}" for form in forms))
        tried = self._settle(forms, compiled)
        self.described = {
            "parameters": parameters, "start_seconds": round(time.perf_counter() - started, 2), "form": self._form,
            "tried": tried, "version": f"torch {torch.__version__}", "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name() if self._device == "cuda" else "cpu",
        }  # fmt: skip

    def steps(self, count: int) -> None:
        """Run `count` training steps, and wait for them."""
        import torch

        half = partial(torch.autocast, self._device, torch.bfloat16)
        cast = half if self._precision == "bfloat16" else contextlib.nullcontext
        for _ in range(count):
            tokens, lengths, labels, more = self._batches[self._form.split()[0]][self._at]
            self._at = (self._at + 1) % len(self._batches["padded"])
            for weight in self._weights:
                weight.grad = None
            with cast():
                scores = self._run(tokens, lengths, self._form, **more)
            self._loss(_wide(scores), labels).backward()
            if self._clip:
                torch.nn.utils.clip_grad_norm_(self._weights, self._clip)
            for rule in self._rules:
                rule.step()
        if self._device == "cuda":
            torch.cuda.synchronize()

    def detail(self) -> dict[str, Any]:
        """Nothing beyond what is described."""
        return {}

    def memory_mib(self) -> float:
        """The most memory that was in use: of the GPU, or of the process."""
        import torch

        return torch.cuda.max_memory_allocated() / 2**20 if self._device == "cuda" else peak_mib()

    def _loss(self, logits: Any, labels: Any) -> Any:
        """The experiment's objective (`jaxtag.training.objectives`), divided by its weight."""
        import torch

        if self._training.objective == "sequence":
            return sequence_twins.loss(logits, labels, self._hashtags, self._smoothing)
        if self._training.objective == "hinge":
            return baseline_twins.hinge(logits, labels, self._model)
        real = labels >= 0
        if self._training.objective == "sigmoid":
            gold = torch.zeros_like(logits).scatter_add_(1, labels.clamp_min(0), real.to(logits.dtype)).clamp_max_(1)
            target = gold * (1 - self._smoothing) + self._smoothing / 2
            each = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="sum")
            return each / real.any(1).sum()
        logp = logits.log_softmax(1)
        gold = logp.gather(1, labels.clamp_min(0)).masked_fill(~real, 0).sum(1)
        pairs = real.sum(1)
        total = (1 - self._smoothing) * gold
        if self._smoothing:
            total = total + self._smoothing * pairs * logp.mean(1)
        return -total.sum() / pairs.sum()

    def _make_rules(self) -> list[Any]:
        """The optimizers: one, or with sparse tables two. PyTorch's AdaGrad has no L2 of sparse gradients."""
        import torch

        t, sparse = self._training, []
        if t.optimizer in ("adam", "bert_adam"):
            rule = torch.optim.AdamW if t.weight_decay else torch.optim.Adam
            return [rule(self._weights, lr=t.learning_rate, weight_decay=t.weight_decay or t.l2, fused=True)]
        for module in self._network.modules():
            if isinstance(module, torch.nn.Embedding | torch.nn.EmbeddingBag):
                module.sparse = self._sparse
                sparse += [module.weight] * self._sparse
        rest = [w for w in self._weights if not any(w is table for table in sparse)]

        def adagrad(weights: list[Any], l2: float, fused: bool) -> Any:
            start = t.accumulator
            return torch.optim.Adagrad(
                weights, t.learning_rate, weight_decay=l2, initial_accumulator_value=start, foreach=False, fused=fused
            )

        return [adagrad(rest, t.l2, True)] + ([adagrad(sparse, 0.0, False)] if sparse else [])

    def _use(self, form: str) -> None:
        """Take another form; the optimizers begin anew where tables turn sparse, or dense."""
        self._form, sparse = form, SPARSE in form
        if sparse != self._sparse:
            self._sparse, self._rules = sparse, []
            self._rules = self._make_rules()

    def _read(self, posts: Posts, experiment: Experiment) -> dict[str, list[tuple[Any, ...]]]:
        """Batches in our order, by form: `padded` as ours, `trimmed` and `packed` cut to the batch's longest post."""
        import torch

        put = lambda values: torch.from_numpy(np.ascontiguousarray(values)).to(self._device)  # noqa: E731
        found: dict[str, list[tuple[Any, ...]]] = {"padded": [], "trimmed": [], "packed": []}
        for step in range(IMAGE_BATCHES if posts.reading.images else BATCHES):
            rows = order.rows_of_step_on_host(posts.rows, experiment.training.seed, step, experiment.training.batch)
            batch = posts.reading.gather(rows)
            labels = batch["hashtags"][:, : max(1, int((batch["hashtags"] >= 0).sum(1).max()))]
            words = batch.get("tokens", batch.get(WORDPIECES, np.zeros((len(rows), 1), np.int32)))
            lengths = np.maximum((words != 0).sum(1), 1)
            seen = {name: put(batch[name]) for name in (TOPICS, *IMAGE_COLUMNS) if name in batch}
            for form, longest in (("padded", words.shape[1]), ("trimmed", int(lengths.max()))):
                tokens = put(words[:, :longest]).long()
                more = dict(seen)
                if experiment.training.objective in ("sequence", "hinge"):
                    more["labels"] = put(labels).long()
                if HISTORY in batch:
                    earlier = batch[HISTORY]
                    most = earlier.shape[2] if form == "padded" else max(1, int((earlier != 0).sum(2).max()))
                    more[HISTORY] = put(earlier[..., :most]).long()
                found[form].append((tokens, put(lengths).long(), put(labels).long(), more))
            tokens, _, *rest = found["trimmed"][-1]  # packing wants lengths on the host
            found["packed"].append((tokens, torch.from_numpy(lengths).long(), *rest))
        return found

    def _settle(self, forms: tuple[str, ...], compiled: bool) -> dict[str, float]:
        """Try every form twice, keep the fastest; the least seconds a step of each."""
        import torch

        plain, tried = self._network, {}
        runs = {"": plain} | ({"compiled ": torch.compile(plain)} if compiled else {})
        ways = [(name, run, form) for name, run in runs.items() for form in (forms if not name else ("padded",))]
        for name, run, form in ways * 2:  # the first one is tried on a process that only just began
            self._run = run
            self._use(form)
            self.steps(2)
            steps, took, started = 0, 0.0, time.perf_counter()
            while not steps or took < TRIAL_SECONDS:
                self.steps(1)
                steps, took = steps + 1, time.perf_counter() - started
            tried[name + form] = min(round(took / steps, 6), tried.get(name + form, math.inf))
        best = min(tried, key=lambda key: tried[key])
        self._run = runs["compiled " if best.startswith("compiled ") else ""]
        self._use(best.removeprefix("compiled "))
        return tried


def _wide(scores: Any) -> Any:
    """What a network gives, one tensor or several, in float32: the loss is computed there."""
    if isinstance(scores, tuple | list):
        return type(scores)(_wide(x) for x in scores)
    return scores.float() if scores.is_floating_point() else scores
