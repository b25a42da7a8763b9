"""What every recipe trained by steps goes through at tiny size. A new one joins by itself; GOLDEN wants its numbers."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxtag import ranking
from jaxtag.cli import main
from jaxtag.data import order
from jaxtag.data.dataset import open_dataset
from jaxtag.data.posts import PAD
from jaxtag.recipes import recipes, resolve
from jaxtag.runs import bind, open_posts
from jaxtag.systems import find
from jaxtag.training.learners import BySteps
from jaxtag.training.loop import initial_vectors
from jaxtag.training.starting import start_of
from jaxtag.training.state import create, numbers_of
from jaxtag.training.step import make_train_step
from tests import toy, toy_topics, toy_zero_shot

BATCH, SEEN, HELD_OUT, STEPS = 32, 8, 8, 160  # posts a batch; batches to learn from and beside them; steps at most

# Mean loss of each of the first 8 steps. A refactor that moves one has changed
# the numbers of every run: say so in the changelog and print the new ones with `Trial(recipe).losses[:8]`.
GOLDEN: dict[str, list[float]] = {
    "amnn/amnn": [5.12774, 4.79972, 4.40556, 3.68012, 3.47539, 3.14269, 2.59219, 2.54614],
    "amnn/amnn_image": [5.12859, 4.80572, 4.42433, 3.7387, 3.43269, 3.20285, 2.65523, 2.59196],
    "amnn/amnn_text": [5.13566, 4.92019, 4.6736, 4.31522, 3.80851, 3.33749, 3.19841, 3.19758],
    "amnn/coattention": [2.54284, 2.39303, 2.47722, 2.35252, 2.24233, 2.12562, 1.84975, 1.86534],
    "amnn/multilabel_resnet": [8.30228, 8.22978, 8.26001, 8.19197, 8.22226, 8.2094, 8.07651, 8.08992],
    "amnn/nic": [5.17682, 4.85875, 4.58093, 4.26859, 3.78243, 3.41489, 3.01033, 3.11338],
    "amnn/show_attend_tell": [5.1055, 4.35721, 3.6266, 3.39745, 3.02866, 2.68782, 2.51794, 2.58044],
    "amnn/vgg_object_scene": [8.36262, 7.04758, 6.50447, 5.95803, 5.24496, 4.47851, 4.00342, 3.69844],
    "hmemn2n/cnn_attention": [2.53842, 2.3048, 3.02389, 2.17055, 2.25611, 1.64723, 1.54175, 1.66684],
    "hmemn2n/hmemn2n": [2.64338, 2.08112, 2.20778, 2.15381, 1.2916, 1.3262, 1.11542, 1.07042],
    "hmemn2n/memn2n": [2.63207, 2.1925, 2.68593, 2.06842, 1.54104, 1.49468, 1.27055, 1.27351],
    "lxmert4hashtag/lxmert": [8.49942, 7.21018, 6.19465, 5.49061, 4.95115, 4.54124, 4.11414, 3.89336],
    "lxmert4hashtag/lstm_cnn": [7.98325, 7.37302, 6.79732, 5.95602, 5.08679, 4.38038, 3.99736, 3.75565],
    "lxmert4hashtag/tab_lstm": [2.48876, 2.47176, 2.49223, 2.47337, 2.43533, 2.39692, 2.4378, 2.38065],
    "lxmert4hashtag/tweet_embedding": [0.97419, 0.71337, 0.66566, 0.64257, 0.57066, 0.50288, 0.43906, 0.41764],
    "zsl/ann": [2.48467, 2.45972, 2.46752, 2.44194, 2.40693, 2.36416, 2.32496, 2.28073],
    "zsl/cnn": [2.57293, 2.48906, 2.85317, 2.72901, 2.52836, 2.59365, 2.55364, 2.54142],
    "zsl/rnn": [2.49521, 2.47498, 2.47755, 2.48678, 2.48194, 2.46624, 2.44157, 2.43834],
    "zsl/rnn_attention": [2.49067, 2.48836, 2.47312, 2.49138, 2.453, 2.45237, 2.41845, 2.45355],
    "zsl/transformer": [3.16068, 2.80268, 2.97458, 2.99528, 2.62272, 2.96314, 2.40029, 2.45394],
}
# How far above ln L the first loss may lie: by half the variance of the logits, which a Glorot head over features of
# size one has. The convolutions' softplus features are all positive; the transformer's are normalised; memn2n's are
# sums over the words of a post and of earlier ones. The hardest of a batch's posts violates a margin by some cosine.
FIRST_LOSS = {"cnn": 0.3, "transformer": 1.0, "memn2n": 0.3, "tweet_embedding": 0.8}
# What these posts are learned with where the recipe's own is too slow: its rate is for 2048 features, they have 16.
RATES = {"amnn/multilabel_resnet": {"learning_rate": 0.5}}
LAST_VISION = (
    *(f"vision_attention/attention/{part}_{what}" for part in ("query", "value") for what in ("kernel", "bias")),
    *(f"vision_attention/attention/{part}" for part in ("key_kernel", "key_bias", "output/kernel", "output/bias")),
    *(f"vision_{part}/norm/{what}" for part in ("attention", "forward") for what in ("scale", "bias")),
    *(f"vision_forward/{part}/{what}" for part in ("wide", "narrow") for what in ("kernel", "bias")),
)
# Parameters without a gradient, by system, and why.
SAME = "adds the same to all scores of an attention, and so nothing"
UNREACHED = {
    "tab_lstm": {f"attention/{name}": "a factor of v, which is zeros at first" for name in ("hidden/kernel", "query")},
    "show_attend_tell": {f"layers/query_{part}": f"{SAME}, but for dropout's noise" for part in ("kernel", "bias")},
    "coattention": {
        f"{which}_{i}/{name}": SAME for which in ("visual", "textual") for i in range(2) for name in ("guide", "bias")
    },
    "transformer": {"encoder/layers/self_attention/attention/key_bias": SAME},
    "lxmert": {
        **{f"encoder/{which}/layers/self_attention/attention/key_bias": SAME for which in ("language", "vision")},
        **{f"encoder/cross/last/{which}_attention/attention/key_bias": SAME for which in ("cross", "language")},
        **{f"encoder/cross/last/{name}": "of objects, and the head reads a word" for name in LAST_VISION},
        "encoder/text/types": "posts have one type alone, which does not learn",
    },
}


# Of the toy posts' features of images, those that stand for a recipe's own.
EXTRACTORS: dict[str, str] = dict.fromkeys(("resnet50", "resnet152", "vgg16", "inception_v3"), "seen")
EXTRACTORS |= {"vgg16,vgg16_places": "seen,other"}


# The toy posts have one hashtag each, which a sequence without an end says at its first step: no other step is learned.
ENDS = {f"amnn/{name}": {"model.end": "true"} for name in ("amnn", "amnn_image", "amnn_text")}


def reads(recipe: str) -> dict[str, str]:
    """The overrides by which a recipe that reads images reads the toy posts', and one of sequences has an end."""
    named = resolve(recipe, "tiny").data.extractor
    return ({"data.extractor": EXTRACTORS.get(named, named)} if named else {}) | ENDS.get(recipe, {})


HALVES = ("amnn/amnn_image", "amnn/amnn_text")


class Trial:
    """A recipe bound to the toy posts: its batches, and its step and gradient, each compiled once."""

    def __init__(self, recipe: str, data: Path):
        dataset = open_dataset(data)
        experiment = resolve(recipe, "tiny", {"training.batch": BATCH, "evaluation.batch": 64, **reads(recipe)})
        self.recipe, self.rates = recipe, RATES.get(recipe, {})
        b = bind(experiment, dataset, dataset.split(), jax.devices()[:1])
        self.system = b.system
        numbers = numbers_of(experiment, b.split.train, toy.HASHTAGS, b.system.sizes.hashtags)
        self.numbers = jax.tree.map(jnp.asarray, numbers)
        rows = [
            np.asarray(
                order.rows_of_step(
                    self.numbers["rows"], self.numbers["order"], self.numbers["seed"], jnp.int32(s), BATCH
                )
            )
            for s in range(SEEN + HELD_OUT)
        ]
        self.batches = [b.reading.gather(r) for r in rows]
        self.state = start_of(b)(create(b.system, b.optimizer, b.abstract, experiment.training.seed, b.mesh))
        self.params, self.collections = self.state["params"], self.state["collections"]
        step = make_train_step(b.system, b.optimizer)

        def fit(numbers: dict, batches: dict, steps: int) -> tuple[Any, jax.Array]:
            def body(i: jax.Array, carry: tuple) -> tuple:
                state, losses = carry
                state, sums = step(state, numbers, jax.tree.map(lambda x: x[i % SEEN], batches))
                return state, losses.at[i].set(sums["loss"] / sums["weight"])

            return lax.fori_loop(0, steps, body, (self.state, jnp.zeros(STEPS)))

        def best(state: dict, batch: dict) -> jax.Array:
            given = (state["params"], state["collections"], batch)
            return ranking.rank(self.system, *given, ranking.candidate_table(self.system, *given[:2], labels), 1)[0]

        labels = jnp.arange(toy.HASHTAGS)
        self._fit, self._best = jax.jit(fit), jax.jit(best)
        self.gradient = jax.jit(jax.value_and_grad(self._loss, has_aux=True))
        self.losses = self.fit(self.batches[:SEEN], 8)[1]

    def fit(self, batches: list, steps: int, **numbers: float) -> tuple[dict, np.ndarray]:
        """State and losses after `steps` over `batches`, from the first state."""
        given = self.numbers | {name: np.float32(value) for name, value in numbers.items()}
        state, losses = self._fit(given, jax.tree.map(lambda *x: np.stack(x), *batches), np.int32(steps))
        return state, np.asarray(losses)[:steps]

    def accuracy(self, state: dict, batches: list) -> float:
        """Share of the posts of `batches` whose best hashtag is theirs."""
        hits = []
        for batch in batches:
            hits.append(np.asarray(self._best(state, batch))[:, 0] == batch["hashtags"][:, 0])
        return float(np.mean(hits))

    def _loss(self, params: dict, batch: dict) -> tuple[jax.Array, jax.Array]:
        loss, weight, _ = self.system.loss(params, self.collections, batch, self.numbers, None)
        return loss.sum(), weight.sum()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    posts = (SEEN + HELD_OUT) * BATCH * 10 // 8
    path = toy.make(tmp_path_factory.mktemp("battery") / "data", posts, one=True, pictured=True)
    toy_topics.make(path)
    toy_zero_shot.make_vectors(path, "default")
    return path


@cache
def _trial(recipe: str, data: Path) -> Trial:
    return Trial(recipe, data)


BY_STEPS = sorted(name for name, recipe in recipes().items() if find(recipe("tiny").system).learned == "steps")
# Recipes of two papers that are the same at this size.
TWICE = {f"lxmert4hashtag/{name}": f"amnn/{name}" for name in ("amnn", "coattention")}


@pytest.mark.parametrize(("recipe", "other"), TWICE.items())
def test_recipes_of_two_papers_are_one(recipe: str, other: str) -> None:
    one, two = (recipes()[name]("tiny") for name in (recipe, other))
    assert (one.system, one.model, one.data, one.training) == (two.system, two.model, two.data, two.training)


@pytest.fixture(params=[name for name in BY_STEPS if name not in TWICE], scope="module")
def trial(request: pytest.FixtureRequest, data: Path) -> Trial:
    return _trial(request.param, data)


def same(found: Any, expected: Any, rtol: float) -> None:
    """Leaf by leaf, relative to a leaf's greatest value, or to rounding in the greatest of all."""
    floor = 1e-7 * max(float(jnp.abs(x).max()) for x in jax.tree.leaves(expected))
    for (path, e), f in zip(jax.tree_util.tree_leaves_with_path(expected), jax.tree.leaves(found), strict=True):
        atol = rtol * float(jnp.abs(e).max()) + floor
        np.testing.assert_allclose(f, e, rtol=0, atol=atol, err_msg=jax.tree_util.keystr(path))


def test_the_first_loss_is_that_of_a_guess(trial: Trial) -> None:
    """ln L; L ln 2 where each of the L hashtags has a probability of its own; 2 ln (L + 1) of a hashtag and an end; and
    where posts are told from each other the margin, of both views.
    """
    (loss, weight), _ = trial.gradient(trial.params, trial.batches[0])
    each, guess = 1, math.log(toy.HASHTAGS)
    if trial.system.objective.independent:
        each, guess = toy.HASHTAGS, math.log(2)
    if trial.system.entry.output == "decode":
        each, guess = 2, math.log(toy.HASHTAGS + 1)
    if trial.system.objective.couples:
        guess = 2 * trial.system.module.settings.margin
    assert 0 <= float(loss / weight) / each - guess + 0.05 < FIRST_LOSS.get(trial.system.entry.name, 0.2)


def test_the_loss_curve_is_the_one_it_was(trial: Trial) -> None:
    np.testing.assert_allclose(trial.losses, GOLDEN[trial.recipe], rtol=1e-4)


def test_one_batch_is_learned_by_heart(trial: Trial) -> None:
    _, losses = trial.fit(trial.batches[:1] * SEEN, STEPS, dropout=0, warmup=0, **trial.rates)
    assert losses[-1] < 0.05


def test_shuffled_hashtags_end_at_chance_and_true_ones_do_not(trial: Trial) -> None:
    posts = (SEEN + HELD_OUT) * BATCH
    shuffled = np.concatenate([b["hashtags"] for b in trial.batches])[np.random.default_rng(0).permutation(posts)]
    batches = [b | {"hashtags": h} for b, h in zip(trial.batches, np.split(shuffled, SEEN + HELD_OUT))]
    chance = 1 / toy.HASHTAGS
    far = chance + 4 * math.sqrt(chance * (1 - chance) / (HELD_OUT * BATCH))  # four standard deviations of luck
    assert trial.accuracy(trial.fit(batches[:SEEN], 80, **trial.rates)[0], batches[SEEN:]) < far
    assert trial.accuracy(trial.fit(trial.batches[:SEEN], 80, **trial.rates)[0], trial.batches[SEEN:]) > 3 * far


def test_padding_changes_nothing(trial: Trial) -> None:
    batch = trial.batches[0]
    wider = batch | {
        name: np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, 8)], constant_values=-1 if name == "hashtags" else PAD)
        for name, x in batch.items()
        if name in ("tokens", "wordpieces", "history", "hashtags")
    }
    for name in {"grid", "regions", "boxes"} & set(batch):  # cells past those that are real
        wider[name] = np.pad(batch[name], [(0, 0), (0, 3), (0, 0)], constant_values=1)
    same(trial.gradient(trial.params, wider), trial.gradient(trial.params, batch), 1e-5)


def test_a_batch_is_the_sum_of_its_halves(trial: Trial) -> None:
    batch = trial.batches[0]
    halves = [trial.gradient(trial.params, {n: x[i::2] for n, x in batch.items()}) for i in range(2)]
    if trial.system.objective.couples:  # and every post of a half has fewer others to be told from
        assert sum(half[0][0] for half in halves) < trial.gradient(trial.params, batch)[0][0] - 1
        return
    same(jax.tree.map(jnp.add, *halves), trial.gradient(trial.params, batch), 1e-5)


def test_gradients_reach_every_parameter(trial: Trial) -> None:
    _, gradient = trial.gradient(trial.params, trial.batches[0])
    leaves = {
        jax.tree_util.keystr(path, simple=True, separator="/"): float(jnp.abs(g).max())
        for path, g in jax.tree_util.tree_leaves_with_path(gradient)
    }
    rounding = 1e-6 * max(leaves.values())
    assert {name for name, g in leaves.items() if g <= rounding} == set(UNREACHED.get(trial.system.entry.name, ()))


MESH = {f"parallel.{axis}": 2 for axis in ("data", "fsdp", "tensor")}
# These go through the whole command, which compiles twice as much.
BY_COMMAND = ("zsl/rnn_attention", "hmemn2n/hmemn2n")


def test_two_steps_on_a_mesh(trial: Trial, data: Path) -> None:
    if trial.recipe in HALVES:
        pytest.skip("its parameters are a part of amnn/amnn's, which is tested on a mesh")
    if trial.recipe in BY_COMMAND:
        pytest.skip("the command trains it on a mesh, below")
    if trial.recipe == "lxmert4hashtag/lxmert":
        pytest.skip("tests/test_lxmert.py has it on eight devices")
    said = {"training.batch": BATCH, "evaluation.batch": 64, **reads(trial.recipe), **MESH}
    dataset = open_dataset(data)
    bound = bind(resolve(trial.recipe, "tiny", said), dataset, dataset.split())
    learner = BySteps(bound, open_posts(bound), initial_vectors(bound), start_of(bound))
    _, sums = learner.dispatch(learner.first(), 0, 2)
    np.testing.assert_allclose((sums["loss"] / sums["weight"])[:2], trial.losses[:2], rtol=1e-6)


@pytest.mark.parametrize("recipe", BY_COMMAND)
def test_two_steps_by_the_command_on_a_mesh(recipe: str, data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = {"training.steps": 2, "training.batch": BATCH, "evaluation.batch": 64, **reads(recipe), **MESH}
    options = [x for name, value in said.items() for x in (f"--{name}", value)]
    main([str(x) for x in ("train", recipe, "--size", "tiny", "--data", data, "--run", run, *options)])
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["kind"] == "train"]
    np.testing.assert_allclose(losses, _trial(recipe, data).losses[:2], rtol=1e-6)
    assert rows[-1]["kind"] == "validation"
