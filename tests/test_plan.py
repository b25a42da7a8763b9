"""The plan against what can be worked out by hand, and against what a compiled program does."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError
from jaxtag.experiment import Parallel
from jaxtag.parallel.mesh import make_mesh
from jaxtag.plan import devices, flops, memory, plan, text, workload
from jaxtag.plan.collectives import collectives
from jaxtag.recipes import resolve
from jaxtag.runs import bind, parameters
from tests import toy

SMALL = {"model.hidden": "16,8", "model.filters": "4", "training.batch": "16", "data.length": "16"}


def small(**parallel: int) -> dict:
    """The plan of a small cnn on the 8 simulated devices."""
    overrides = SMALL | {f"parallel.{axis}": str(n) for axis, n in parallel.items()}
    experiment = resolve("zsl/cnn", "tiny", overrides)
    return plan.describe(experiment, workload.assumed(experiment, 100, 20, 1000), jax.devices())


@pytest.fixture(scope="module")
def spread() -> dict:
    return small(data=2, fsdp=2, tensor=2)


def test_products_are_counted_through_loops_branches_and_gradients() -> None:
    a, b = jnp.zeros((3, 4)), jnp.zeros((4, 5))
    assert flops.count(lambda a, b: a @ b, a, b) == {"products": 2 * 3 * 4 * 5, "elementwise": 0}
    batched = flops.count(lambda x, y: jnp.einsum("bij,bjk->bik", x, y), jnp.zeros((7, 3, 4)), jnp.zeros((7, 4, 5)))
    assert batched["products"] == 7 * 2 * 3 * 4 * 5
    square = jnp.zeros((4, 4))

    def loop(x: jax.Array) -> jax.Array:
        return lax.scan(lambda h, _: (h @ square, None), x, None, length=9)[0]

    assert flops.count(loop, a)["products"] == 9 * 2 * 3 * 4 * 4
    assert flops.count(jax.jit(jax.checkpoint(loop)), a)["products"] == 9 * 2 * 3 * 4 * 4
    unknown = flops.count(lambda x, n: lax.fori_loop(0, n, lambda _, h: h @ square, x), a, jnp.int32(5))
    assert unknown["products"] == 2 * 3 * 4 * 4  # a round of it
    branch = flops.count(lambda p, x: lax.cond(p, lambda x: x @ square @ square, lambda x: x @ square, x), True, a)
    assert branch["products"] == 2 * 2 * 3 * 4 * 4
    gradient = flops.count(jax.grad(lambda a, b: (a @ b).sum(), (0, 1)), a, b)
    assert gradient["products"] >= 2 * 2 * 3 * 4 * 5
    x, kernel = jnp.zeros((2, 10, 3)), jnp.zeros((5, 3, 6))
    convolved = lambda x, k: lax.conv_general_dilated(x, k, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))  # noqa: E731
    assert flops.count(convolved, x, kernel)["products"] == 2 * (2 * 10 * 6) * (5 * 3)
    assert flops.count(lambda x: jnp.tanh(x) + 1, a) == {"products": 0, "elementwise": 24}
    assert flops.count(lambda x: x.T.reshape(2, 6)[:, :3], a) == {"products": 0, "elementwise": 0}


def test_the_count_equals_the_compilers_where_there_is_no_loop() -> None:
    def network(w: jax.Array, v: jax.Array, x: jax.Array) -> jax.Array:
        return ((x @ w) @ v).sum()

    given = (jnp.zeros((64, 96)), jnp.zeros((96, 32)), jnp.zeros((48, 64)))
    theirs = jax.jit(network).lower(*given).compile().cost_analysis()
    theirs = theirs[0] if isinstance(theirs, list) else theirs
    counted = flops.count(network, *given)
    assert sum(counted.values()) == pytest.approx(theirs["flops"], rel=1e-3)


def test_the_table_is_the_state_that_training_makes(spread: dict, tmp_path: Path) -> None:
    data = open_dataset(toy.make(tmp_path / "data", 200))
    experiment = resolve(
        "zsl/cnn", "tiny", SMALL | {"parallel.data": "2", "parallel.fsdp": "2", "parallel.tensor": "2"}
    )
    bound = bind(experiment, data, data.split())
    found = plan.describe(experiment, workload.of_split(data, data.split(), experiment), jax.devices())
    assert found["parameters"] == parameters(bound)
    assert found["workload"]["posts"] == 160 and found["workload"]["words"] == toy.WORDS
    assert found["workload"]["lengths"] == bound.reading.lengths
    table = {row["parameter"]: row for row in found["leaves"]}
    for path, leaf in jax.tree_util.tree_leaves_with_path(bound.abstract["params"]):
        row = table[jax.tree_util.keystr(path, simple=True, separator="/")]
        assert row["shape"] == list(leaf.shape)
        assert row["bytes_per_device"] == 4 * np.prod(leaf.sharding.shard_shape(leaf.shape))
    assert table["word_table/table"]["mesh_axes"] == [["fsdp", "tensor"], []]
    assert table["word_table/table"]["axes"] == ["words", "embed"]
    assert not found["replicated"]["parameters"]


def test_what_would_be_split_is_named_on_a_mesh_of_data_alone() -> None:
    found = small()
    assert found["mesh"] == {"data": 8, "fsdp": 1, "tensor": 1}
    held = found["replicated"]
    assert len(held["parameters"]) == len(found["leaves"]) and held["axes"] == ["fsdp", "tensor"]
    assert held["bytes_per_device"] == 4 * found["parameters"]
    said = text.render(found)
    assert "--parallel.fsdp, --parallel.tensor" in said and "simulated" in said
    # The gradients of all parameters are summed over the devices, in each part of a batch sorted by length.
    reduced = [row for row in found["collectives"] if row["kind"] == "all-reduce" and row["per"] == "round"]
    assert reduced[0]["bytes"] >= 4 * found["parameters"]
    assert reduced[0]["wire_bytes"] == pytest.approx(2 * 7 / 8 * reduced[0]["bytes"], rel=0.01)


def test_the_estimate_knows_the_state_exactly(spread: dict) -> None:
    guess, found = spread["bytes_per_device"]["estimate"], spread["bytes_per_device"]["compiled"]
    assert guess["parameters"] == sum(row["bytes_per_device"] for row in spread["leaves"]) == guess["gradients"]
    assert guess["total"] == sum(value for name, value in guess.items() if name != "total")
    # Adam keeps two numbers a parameter, a count, and the step counter; arguments are these and the columns.
    assert 0 <= guess["optimizer"] - 2 * guess["parameters"] <= 64
    known = guess["parameters"] + guess["optimizer"] + guess["columns"]
    assert found["arguments"] == pytest.approx(known, abs=256)
    assert json.loads(json.dumps(spread)) == spread


def test_activations_are_those_of_a_part_at_its_precision() -> None:
    def kept(**overrides: str) -> int:
        settings = {"by_length": "0"} | overrides
        experiment = resolve("zsl/cnn", "tiny", SMALL | {f"training.{k}": v for k, v in settings.items()})
        mesh = make_mesh(Parallel(), jax.devices()[:1])
        return memory.estimate(workload.prepare(experiment, workload.assumed(experiment, 100, 20, 1000), mesh))[
            "activations"
        ]

    whole = kept()
    assert kept(batch="32") == pytest.approx(2 * whole, rel=0.05)
    assert kept(batch="32", accumulate="2") == kept(batch="32", by_length="2") == pytest.approx(whole, rel=0.05)
    assert 0.4 * whole < kept(precision="bfloat16") < 0.9 * whole


def test_collectives_of_a_program_are_found_and_counted() -> None:
    mesh = make_mesh(Parallel(data=2, fsdp=4), jax.devices())
    rows = NamedSharding(mesh, PartitionSpec("fsdp"))
    whole = NamedSharding(mesh, PartitionSpec())

    def gather(x: jax.Array) -> jax.Array:
        return lax.with_sharding_constraint(x, whole) * 1.0

    text_ = jax.jit(gather, in_shardings=rows, out_shardings=whole).lower(jnp.zeros((8, 16))).compile().as_text()
    (found,) = collectives(text_, 8)
    assert (found["kind"], found["per"], found["count"], found["bytes"]) == ("all-gather", "dispatch", 1, 8 * 16 * 4)
    assert found["wire_bytes"] == 8 * 16 * 4 * 3 // 4  # among the 4 devices of fsdp


LOOPS = """\
HloModule jit_f

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
}

%inner (p: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %r = f32[4,8]{1,0} all-reduce(%x), channel_id=1, replica_groups=[2,4]<=[8], to_apply=%add
}

%outer (p: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %w = (s32[], f32[4,8]{1,0}) while(%t), condition=%c, body=%inner, backend_config={"known_trip_count":{"n":"5"}}
  %g = ((bf16[2,8]{1,0}), (bf16[8,8]{1,0})) all-gather-start(%y), channel_id=2, replica_groups={{0,1,2,3},{4,5,6,7}}
  %d = bf16[8,8]{1,0} all-gather-done(%g)
  %again = (bf16[2,8]{1,0}) all-gather(%y), channel_id=2, replica_groups={{0,1,2,3},{4,5,6,7}}
  ROOT %s = f32[2]{0} reduce-scatter(%z), channel_id=3, replica_groups=mesh['a'=4,'b'=2] {'b'}, to_apply=%add
}

ENTRY %main (p: f32[4,8]) -> f32[4,8] {
  %w = (s32[], f32[4,8]{1,0}) while(%t), condition=%c, body=%outer
  ROOT %p = f32[4,8]{1,0} collective-permute(%q), channel_id=4, source_target_pairs={{0,1}}
}
"""


def test_collectives_inside_loops_belong_to_a_step() -> None:
    found = {
        (row["per"], row["kind"]): (row["count"], row["bytes"], row["wire_bytes"]) for row in collectives(LOOPS, 8)
    }
    assert found == {
        ("step", "all-reduce"): (5, 5 * 128, 5 * 192),  # 2 · 3/4 of 128 bytes, five times
        ("step", "all-gather"): (1, 128, 96),  # once a channel, whatever repeats it
        ("step", "reduce-scatter"): (1, 8, 8),  # 1/2 of the 16 bytes that it takes
        ("dispatch", "collective-permute"): (1, 128, 128),
    }


def test_streamed_columns_are_a_feed_of_batches() -> None:
    experiment = resolve("zsl/cnn", "tiny", SMALL | {"data.placement": "streamed"})
    work = workload.assumed(experiment, 100, 20, 1000)
    found = plan.describe(experiment, work, jax.devices())
    assert found["workload"]["placement"] == "streamed"
    guess = found["bytes_per_device"]["estimate"]
    assert guess["columns"] >= 64 * 2 * (16 + 8) * 4  # 64 steps of a batch of 16 over 8 devices
    assert found["bytes_per_device"]["compiled"]["arguments"] == pytest.approx(
        guess["parameters"] + guess["optimizer"] + guess["columns"], abs=256
    )


def test_mistakes_are_named() -> None:
    experiment = resolve("zsl/cnn", "tiny", SMALL)
    with pytest.raises(JaxtagError, match="--words is -1"):
        workload.assumed(experiment, words=-1)
    with pytest.raises(JaxtagError, match="--devices is -1"):
        devices.devices(-1)
    with pytest.raises(JaxtagError, match="JAX has started with 8 CPU devices, 9 are asked for"):
        devices.devices(9)
    assert len(devices.devices(3)) == 3
    odd = resolve("zsl/cnn", "tiny", SMALL | {"training.batch": "12"})
    with pytest.raises(JaxtagError, match="training.batch is 12, which does not divide"):
        plan.describe(odd, workload.assumed(odd, 100, 20, 1000), jax.devices())
    assert text.size(0) == "0 B" and text.size(1536) == "1.5 KiB" and text.size(3 << 40) == "3.0 TiB"
