"""What a step asks for and where its time goes: operations, padding, peaks, reading; estimators beside their peers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.bench import estimators, ours, posts, step, work
from jaxtag.bench.estimator_pairs import PAIRS, Setup
from jaxtag.data import order
from jaxtag.errors import JaxtagError
from jaxtag.parallel import compiling
from jaxtag.plan import peaks
from jaxtag.recipes import resolve

SMALL = {"training.batch": "8", "model.embedding": "6", "model.hidden": "10", "data.length": "16"}


def test_operations_of_a_step_are_those_of_its_products() -> None:
    """zsl/ann has a table, d x h and h x L: forwards 2 B (d h + h L), and twice that backwards."""
    experiment = resolve("zsl/ann", "tiny", SMALL)
    made = posts.made_up(experiment, 40, 8, 100)
    asked = work.flops_of_step(experiment, made.workload)
    assert asked == 3 * 2 * 8 * (6 * 10 + 10 * made.workload.hashtags)
    assert work.useful_share(experiment, made.workload, work.mean_lengths(made), asked) == 1  # no product knows words


def test_padding_is_the_share_of_operations_that_posts_do_not_have() -> None:
    more = {"training.batch": "4", "model.width": "6", "model.embedding": "6", "data.length": "16"}
    experiment = resolve("zsl/rnn", "tiny", more)
    short, full = (posts.made_up(experiment, 40, 8, 400, full=full) for full in (False, True))
    asked = work.flops_of_step(experiment, short.workload)
    assert asked == work.flops_of_step(resolve("zsl/rnn", "tiny", more | {"training.by_length": "2"}), full.workload)
    mean = work.mean_lengths(short)["tokens"]
    real = (short.reading.gather(short.rows)["tokens"] != 0).sum(1).mean()
    assert mean == pytest.approx(real) and 9 < mean < 14
    assert work.mean_lengths(full)["tokens"] == 16 and full.source == "made up, at their longest"
    assert work.useful_share(experiment, full.workload, {"tokens": 16.0}, asked) == 1
    # A GRU's operations grow with the words, the head's do not.
    half, quarter = (work.useful_share(experiment, short.workload, {"tokens": n}, asked) for n in (8.0, 4.0))
    assert half - quarter == pytest.approx((1 - half) / 2, rel=1e-6) and half < 1


def test_shares_are_of_the_time_the_devices_and_their_best() -> None:
    best = {"bfloat16": 4e12, "float32": 1e12, "bandwidth": 1e11}
    told = {"flops": 2e10, "useful_share": 0.25, "peak": {"taken": best}, "precision": "float32", "fetch_ms": 1.0}
    told |= {"bytes_accessed": 10**8}
    blocks = [{"seconds": 2.0, "fed_seconds": 0.3}, {"seconds": 1.0, "fed_seconds": 0.0}]
    found = step.shares(told, {"device": "2 x some"}, blocks, 0.02)
    assert found == pytest.approx({"mfu": 0.5, "useful": 0.25, "input": 0.05, "bandwidth": 0.05})
    half = step.shares(
        told | {"precision": "bfloat16", "fetch_ms": None, "bytes_accessed": None}, {"device": "1 x some"}, blocks, 0.02
    )
    assert half == {"mfu": pytest.approx(0.25), "useful": 0.25, "input": pytest.approx(0.1), "bandwidth": None}


@pytest.mark.parametrize(
    ("kind", "bandwidth"),
    [("NVIDIA H200", 4.8e12), ("NVIDIA H100 80GB HBM3", 3.35e12), ("NVIDIA H100 PCIe", 2e12), ("NVIDIA L40S", 8.64e11),
     ("NVIDIA L4", 3e11), ("NVIDIA A100-SXM4-80GB", 2.039e12), ("TPU v5 lite", 8.19e11), ("TPU v5p", 2.765e12)],
)  # fmt: skip
def test_a_device_is_found_by_its_kind(kind: str, bandwidth: float) -> None:
    found = peaks.known(kind)
    assert found and found.bandwidth == bandwidth and found.flops("bfloat16") >= found.flops("float32")


def test_a_device_that_is_not_known_is_measured() -> None:
    assert peaks.known("cpu") is None
    found = peaks.measure(width=64, mib=1)
    assert min(found.bfloat16, found.float32, found.bandwidth) > 0


@pytest.fixture(scope="module")
def sides() -> Iterator[dict[str, ours.Ours]]:
    """A step's side for each way of reading, after seven steps."""
    experiment = resolve("zsl/ann", "tiny", SMALL)
    made = posts.made_up(experiment, 40, 8, 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ours, "make_mesh", lambda parallel: work.make_mesh(parallel, jax.devices()[:1]))
        found = {read: ours.Ours(experiment, made, read, again=False) for read in ("resident", "streamed", "held")}
        for side in found.values():
            side.steps(6)
        yield found


def test_a_side_trains_on_the_same_batches_however_they_are_read(sides: dict[str, ours.Ours]) -> None:
    params = {read: jax.device_get(side._state["params"]) for read, side in sides.items()}
    jax.tree.map(np.testing.assert_array_equal, params["resident"], params["streamed"])
    held = sides["held"]._source
    assert held.feed(0, 1) is held.feed(9, 4)
    first = jax.device_get(held.feed(0, 1)["tokens"][0])
    rows = order.rows_of_step_on_host(sides["held"]._posts.rows, 0, 0, 8)
    np.testing.assert_array_equal(first, sides["held"]._posts.reading.gather(rows)["tokens"])
    assert {side.described["placement"] for side in sides.values()} == set(sides)


def test_a_side_says_what_its_step_asks_for(sides: dict[str, ours.Ours], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "measure", lambda: peaks.Peak(1e12, 1e12, 1e11))
    found = {read: sides[read].detail() for read in ("resident", "streamed")}
    assert found["resident"]["fetch_ms"] > 0 and found["streamed"]["fetch_ms"] is None
    assert found["resident"]["flops"] == found["streamed"]["flops"] > 0 and found["resident"]["peak"]["device"]
    assert sides["streamed"].fed_seconds > 0 and sides["resident"].memory_mib() > 0


def test_programs_and_their_seconds_are_counted_and_kept_ones_named(
    tmp_path: Path, monkeypatch: Any, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(compiling, "_readable", lambda: True)  # the program is of one device
    kept_at_all = jax.config.jax_enable_compilation_cache  # pyright: ignore
    request.addfinalizer(lambda: jax.config.update("jax_enable_compilation_cache", kept_at_all))
    jax.config.update("jax_enable_compilation_cache", True)
    before = compiling.spent()
    with compiling.caching(tmp_path) as kept:
        assert kept
        for _ in range(2):
            jax.jit(lambda x: jnp.sin(x) @ x.T)(jnp.ones((3, 3))).block_until_ready()
            jax.clear_caches()
    after = compiling.spent()
    told = {name: after[name] - before[name] for name in after}
    assert told["programs"] >= 2 and told["programs"] == 2 * told["programs_kept"] and told["compile_seconds"] > 0
    assert any(tmp_path.iterdir()) and jax.config.jax_compilation_cache_dir != str(tmp_path)  # pyright: ignore
    monkeypatch.setattr(compiling, "_readable", lambda: False)
    with compiling.caching(tmp_path) as kept:
        assert not kept


def test_estimators_say_what_their_peers_say() -> None:
    names = [name for name in PAIRS if name != "topics"]
    found = estimators.bench(names, Setup(300, 60, 200, 6, 12, 1))
    assert [row["estimator"] for row in found["rows"]] == names
    for row in found["rows"]:
        assert row["agree"] >= 0.95 and row["ratio"] == pytest.approx(row["ours_seconds"] / row["theirs_seconds"])
    assert "scikit-learn LinearSVC" in estimators.render(found)


def test_topics_are_gensims() -> None:
    (row,) = estimators.bench(["topics"], Setup(200, 40, 100, 6, 4, 1))["rows"]
    assert row["agree"] > 0.6  # gensim starts at random: the likeliest of 50 topics may be another


def test_what_cannot_be_compared_is_one_line() -> None:
    with pytest.raises(JaxtagError, match="no estimator 'smv' is compared.* did you mean 'svm'"):
        estimators.bench(["smv"], Setup())
    with pytest.raises(JaxtagError, match="--tests is 0; it must be above 0"):
        estimators.bench([], Setup(tests=0))
