"""Measuring: the arithmetic of a comparison, made-up posts, and the sides themselves at the smallest size."""

import json
import subprocess
import sys

import numpy as np
import pytest

from jaxtag.bench import posts, step
from jaxtag.data.posts import FIRST_WORD
from jaxtag.errors import JaxtagError
from jaxtag.recipes import resolve

SMALL = {"training.batch": "16", "model.embedding": "8", "data.length": "16"}
TWINS = ["ann", "cnn", "rnn", "rnn_attention", "transformer"]


def test_ratios_are_of_neighbouring_blocks() -> None:
    described = {
        side: {"batch": 32, "lengths": {"tokens": 8}, "posts": "made up", "parameters": 7, "version": side}
        for side in ("jaxtag", "torch")
    }
    block = lambda steps, seconds, cpu: {"steps": steps, "seconds": seconds, "cpu_seconds": cpu}  # noqa: E731
    ours = [block(10, 1.0, 1.5), block(10, 2.0, 3.0), block(20, 1.0, 1.5)]  # 0.1, 0.2, 0.05 s a step
    theirs = [block(5, 1.0, 2.0), block(5, 2.0, 4.0), block(10, 2.0, 4.0)]  # 0.2, 0.4, 0.2
    row = step.summary("zsl/cnn", described, {"jaxtag": ours, "torch": theirs})
    assert row["ratio_all"] == pytest.approx([0.5, 0.5, 0.25]) and row["ratio"] == pytest.approx(0.5)
    assert row["ratio_quartiles"] == pytest.approx([0.375, 0.5])
    side = row["sides"]["jaxtag"]
    assert side["step_ms"] == pytest.approx(100) and side["step_ms_quartiles"] == pytest.approx([75, 150])
    assert side["posts_per_second"] == pytest.approx(320) and side["cores"] == pytest.approx(1.5)
    assert row["sides"]["torch"]["cores"] == pytest.approx(2.0)
    found = {"recipes": [row], "rounds": 3, "block_seconds": 1.0, "machine": "m", "cores": 2}
    assert "0.50 (0.38 to 0.50)" in step.render(found)
    alone = step.summary("zsl/cnn", described, {"jaxtag": ours})
    assert "ratio" not in alone and step.quartiles([3.0]) == [3.0, 3.0]


def test_made_up_posts_are_as_long_as_real_ones_and_repeat_words() -> None:
    experiment = resolve("zsl/cnn", "tiny", {"data.length": "40"})
    made = posts.made_up(experiment, 500, 50, 4000)
    tokens = made.reading.columns["tokens"]
    lengths = tokens.lengths()
    assert lengths.min() >= posts.SHORTEST and lengths.max() < posts.SHORTEST + len(posts.LENGTHS)
    expected = np.average(np.arange(len(posts.LENGTHS)) + posts.SHORTEST, weights=posts.LENGTHS)
    assert lengths.mean() == pytest.approx(expected, abs=0.5)
    counts = np.bincount(tokens.values - FIRST_WORD, minlength=500)
    assert len(counts) == 500 and counts[0] / counts[9] == pytest.approx(10, rel=0.25)
    batch = made.reading.gather(made.rows[:8])
    assert batch["tokens"].shape == (8, 40) and batch["tokens"].max() < 500 + FIRST_WORD
    assert ((batch["hashtags"] >= 0).sum(1) == 1).all()
    again = posts.made_up(experiment, 500, 50, 4000)
    np.testing.assert_array_equal(again.reading.columns["tokens"].values, tokens.values)


def test_our_side_runs_in_a_process_of_its_own() -> None:
    asked = {"side": "jaxtag", "recipe": "zsl/cnn", "size": "tiny", "overrides": SMALL, "words": 50, "hashtags": 5,
             "data": "", "split": "", "threads": 1, "torch_compile": False}  # fmt: skip
    given = json.dumps(asked) + "\n" + json.dumps({"seconds": 0.05}) + "\n"
    done = subprocess.run(
        [sys.executable, "-m", "jaxtag.bench.worker"], input=given, capture_output=True, text=True, check=True
    )
    described, block = (json.loads(line) for line in done.stdout.splitlines())
    assert described["batch"] == 16 and described["lengths"]["tokens"] == 16 and described["parameters"] > 0
    assert block["steps"] >= 1 and block["seconds"] >= 0.05 and block["cpu_seconds"] > 0


def test_a_side_says_what_is_wrong_in_one_line() -> None:
    with pytest.raises(JaxtagError, match="training.batch is 60000, there are 50000 posts"):
        step.measure("zsl/cnn", step.Setup("tiny", SMALL | {"training.batch": "60000"}, words=50, hashtags=5))


def test_mistakes_are_found_before_anything_runs(monkeypatch) -> None:
    for setup, said in (
        (step.Setup(against="tensorflow"), "--against is 'tensorflow'"),
        (step.Setup(rounds=0), "--rounds is 0"),
        (step.Setup(seconds=-1.0), "--seconds is -1.0"),
    ):
        with pytest.raises(JaxtagError, match=said):
            step.bench(["zsl/cnn"], setup)
    monkeypatch.setattr(step.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(JaxtagError, match="PyTorch is not installed; pip install torch"):
        step.bench(["zsl/cnn"], step.Setup(against="torch"))


@pytest.mark.parity
@pytest.mark.parametrize("name", TWINS)
def test_a_twin_is_the_same_network_and_learns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install -e '.[parity]'")
    import jax

    from jaxtag.bench import theirs, twins
    from jaxtag.plan.workload import Workload, sizes_of
    from jaxtag.systems import build

    experiment = resolve(f"zsl/{name}", "tiny", SMALL)
    made = posts.made_up(experiment, 50, 5, 200)
    work = Workload(50, 5, 200, made.reading.lengths, {}, 0, "")
    sizes = sizes_of(experiment, work)
    params = jax.eval_shape(lambda: build(experiment, sizes).init(jax.random.key(0)))["params"]
    ours = sum(int(np.prod(x.shape)) for x in jax.tree.leaves(params))
    network = twins.build(experiment, sizes)
    assert sum(p.numel() for p in network.parameters()) - twins.extra_parameters(network) == ours
    # Every form gives the same scores: padding changes nothing.
    network.eval()
    tokens = torch.from_numpy(made.reading.gather(made.rows[:6])["tokens"]).long()
    lengths = (tokens != 0).sum(1)
    with torch.no_grad():
        padded = network(tokens, lengths, "padded")
        short = tokens[:, : int(lengths.max())]
        for form in twins.LENGTHS[name]:
            torch.testing.assert_close(network(short, lengths, form), padded, atol=1e-5, rtol=1e-5)
    monkeypatch.setattr(theirs, "TRIAL_SECONDS", 0.0)
    side = theirs.Theirs(experiment, made)
    before = [p.detach().clone() for p in side._network.parameters()]
    side.steps(2)
    moved = [not torch.equal(a, b) for a, b in zip(before, side._network.parameters())]
    assert all(moved) and side.described["parameters"] == ours
    assert set(side.described["tried"]) == set(twins.LENGTHS[name])
