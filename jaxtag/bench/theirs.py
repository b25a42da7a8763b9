"""PyTorch's side of a measurement: the twin's training step, in the fastest of the forms a user could choose."""

import time
from typing import Any

import numpy as np

from jaxtag.bench import twins
from jaxtag.bench.posts import Posts
from jaxtag.data import order
from jaxtag.errors import JaxtagError
from jaxtag.experiment import Experiment
from jaxtag.plan.workload import Workload, sizes_of

BATCHES = 64  # of the same order as ours, made ready in memory: reading costs the twin nothing
TRIAL_SECONDS = 1.0  # a form is tried for


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
        if training.optimizer != "adam" or training.l2:
            raise JaxtagError(f"the PyTorch twins train by adam without l2, not by {training.optimizer}")
        torch.manual_seed(training.seed)
        self._smoothing, self._clip = training.smoothing, training.clip
        work = Workload(posts.words, posts.hashtags, len(posts.rows), posts.reading.lengths, {}, 0, posts.source)
        started = time.perf_counter()
        self._network = self._run = twins.build(experiment, sizes_of(experiment, work))
        self._network.train()
        weights = [p for p in self._network.parameters() if p.requires_grad]
        rule = torch.optim.AdamW if training.weight_decay else torch.optim.Adam
        self._rule = rule(weights, lr=training.learning_rate, weight_decay=training.weight_decay, fused=True)
        self._weights, self._at = weights, 0
        self._batches = self._read(posts, experiment)
        parameters = sum(p.numel() for p in self._network.parameters()) - twins.extra_parameters(self._network)
        self._form = "padded"
        tried = self._settle(twins.LENGTHS[experiment.system], compiled)
        self.described = {
            "parameters": parameters, "start_seconds": round(time.perf_counter() - started, 2), "form": self._form,
            "tried": tried, "version": f"torch {torch.__version__}", "threads": torch.get_num_threads(),
        }  # fmt: skip

    def steps(self, count: int) -> None:
        """Run `count` training steps."""
        import torch

        for _ in range(count):
            tokens, lengths, labels = self._batches[self._form][self._at]
            self._at = (self._at + 1) % BATCHES
            self._rule.zero_grad(set_to_none=True)
            logp = self._run(tokens, lengths, self._form).log_softmax(1)
            real = labels >= 0
            gold = logp.gather(1, labels.clamp_min(0)).masked_fill(~real, 0).sum(1)
            pairs = real.sum(1)
            total = (1 - self._smoothing) * gold
            if self._smoothing:
                total = total + self._smoothing * pairs * logp.mean(1)
            (-total.sum() / pairs.sum()).backward()
            if self._clip:
                torch.nn.utils.clip_grad_norm_(self._weights, self._clip)
            self._rule.step()

    def _read(self, posts: Posts, experiment: Experiment) -> dict[str, list[tuple[Any, Any, Any]]]:
        """Batches in our order, by form: `padded` as ours, `trimmed` and `packed` cut to the batch's longest post."""
        import torch

        found: dict[str, list[tuple[Any, Any, Any]]] = {"padded": [], "trimmed": []}
        for step in range(BATCHES):
            rows = order.rows_of_step_on_host(posts.rows, experiment.training.seed, step, experiment.training.batch)
            batch = posts.reading.gather(rows)
            labels = batch["hashtags"][:, : max(1, int((batch["hashtags"] >= 0).sum(1).max()))]
            lengths = np.maximum((batch["tokens"] != 0).sum(1), 1)
            for form, longest in (("padded", batch["tokens"].shape[1]), ("trimmed", int(lengths.max()))):
                tokens = torch.from_numpy(np.ascontiguousarray(batch["tokens"][:, :longest])).long()
                found[form].append((tokens, torch.from_numpy(lengths).long(), torch.from_numpy(labels).long()))
        return found | {"packed": found["trimmed"]}

    def _settle(self, forms: tuple[str, ...], compiled: bool) -> dict[str, float]:
        """Try every form, keep the fastest; seconds a step of each."""
        import torch

        plain, tried = self._network, {}
        runs = {"": plain} | ({"compiled ": torch.compile(plain)} if compiled else {})
        for name, run in runs.items():
            for form in forms if not name else ("padded",):
                self._run, self._form = run, form
                self.steps(2)
                steps, took, started = 0, 0.0, time.perf_counter()
                while not steps or took < TRIAL_SECONDS:
                    self.steps(1)
                    steps, took = steps + 1, time.perf_counter() - started
                tried[name + form] = round(took / steps, 6)
        best = min(tried, key=lambda key: tried[key])
        self._run, self._form = runs["compiled " if best.startswith("compiled ") else ""], best.split()[-1]
        return tried
