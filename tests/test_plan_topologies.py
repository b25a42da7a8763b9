"""Plans for machines that are not there: their names, what is read off a program, the arithmetic, and the meshes.

What compiles for TPUs or GPUs is optional: tests that need libtpu or JAX's CUDA plugin say so and are skipped.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import pytest

from jaxtag.errors import JaxtagError
from jaxtag.experiment import Parallel
from jaxtag.parallel.mesh import make_mesh
from jaxtag.plan import (
    ahead,
    chips,
    collectives,
    hlo,
    machine_text,
    plan,
    propose,
    roofline,
    scaling,
    text,
    wire,
    workload,
)
from jaxtag.plan.chips import CHIPS
from jaxtag.plan.collectives import Collective
from jaxtag.plan.topologies import Topology, sizes, topology
from jaxtag.recipes import resolve
from tests.toy_command import call

SMALL = {"model.hidden": "16,8", "model.filters": "4", "training.batch": "64", "data.length": "16"}
needs = {
    kind: pytest.mark.skipif(bool(ahead.missing(kind)), reason=f"needs the extra {ahead.missing(kind)}, not installed")
    for kind in ("tpu", "gpu")
}


@pytest.mark.parametrize(
    ("name", "chip", "shape", "count"),
    [
        ("v5e:16x16", "v5e", (16, 16), 256),
        ("v5e-256", "v5e", (16, 16), 256),
        ("v5litepod-16", "v5e", (4, 4), 16),
        ("v5e-1", "v5e", (1, 1), 1),
        ("V5E:8x4", "v5e", (4, 8), 32),
        ("v6e-256", "v6e", (16, 16), 256),
        ("v5p-256", "v5p", (4, 4, 8), 128),  # TensorCores, two a chip
        ("v5p-128", "v5p", (4, 4, 4), 64),
        ("v5p:4x4x8", "v5p", (4, 4, 8), 128),
        ("v5:8x4x4", "v5p", (4, 4, 8), 128),
        ("v5p-12288", "v5p", (16, 16, 24), 6144),
        ("v4-8", "v4", (2, 2, 1), 4),
        ("v4-8192", "v4", (16, 16, 16), 4096),
        ("h200:8x8", "h200", (8, 8), 64),
        ("h200-64", "h200", (8, 8), 64),
        ("h100-4", "h100", (1, 4), 4),
        ("a100:1x8", "a100", (1, 8), 8),
    ],
)
def test_names_that_people_use(name: str, chip: str, shape: tuple[int, ...], count: int) -> None:
    found = topology(name)
    assert (found.chip.name, found.shape, found.count) == (chip, shape, count)
    assert topology(found.name) == found


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("v5e-17", "no such size; the nearest: v5e-16 or v5e-32"),
        ("v5e:3x3", "no such size; the nearest: v5e:2x4 or v5e:4x4"),
        ("v5e:2x8", "no such size; the nearest: v5e:4x4$"),  # the number is right, the torus is not
        ("v5e-512", "the nearest: v5e-256$"),
        ("v5p-100", r"v5p-N counts TensorCores, 2 of a chip\); the nearest: v5p-64 or v5p-128"),
        ("v6e:4x4x4", "the nearest: v6e:8x8$"),
        ("h200-12", "the nearest: h200-8 or h200-16"),
        ("h200:8", "give hosts x GPUs of a host, up to 1024 x 8"),
        ("h100:2x9", "no such machine"),
        ("v9-8", r"no machine that is known here; name a chip \(v4, v5e, v5p, v6e, a100, h100, h200\)"),
        ("v5e", "no machine that is known here"),
        ("v5e:-1", "no machine that is known here"),
        ("v5e-0", "the nearest: v5e-1$"),
    ],
)
def test_names_that_are_none(name: str, said: str) -> None:
    with pytest.raises(JaxtagError, match=said):
        topology(name)


def test_slices_are_of_tpus() -> None:
    assert topology("v5e-16", 2).count == 32 and topology("v5e-16", 2).name == "2 x v5e:4x4"
    with pytest.raises(JaxtagError, match="--slices is 2; of GPUs, give all hosts"):
        topology("h200:8x8", 2)
    with pytest.raises(JaxtagError, match="--slices is 0; it must be 1 or more"):
        topology("v5e-16", 0)


def test_the_table_of_chips() -> None:
    assert list(CHIPS) == ["v4", "v5e", "v5p", "v6e", "a100", "h100", "h200"]
    assert CHIPS["v5e"].peak.bfloat16 == 197e12 and CHIPS["h200"].peak.bandwidth == 4800e9
    assert CHIPS["v5p"].links == 600e9 and CHIPS["v5e"].memory == 15.75 * 2**30
    for chip in CHIPS.values():
        assert chip.peak.float32 <= chip.peak.bfloat16 and chip.network < chip.links < chip.peak.bandwidth
        assert (chip.kind == "tpu") == bool(chip.axes)
        if chip.axes:
            offered = sizes(chip)
            assert len(set(offered)) == len(offered) and all(len(s) == chip.axes for s in offered)
    target = chips.gpu_target(CHIPS["h200"])
    assert "device_memory_size: 151397597184\n" in target and "cuda_compute_capability { major: 9 minor: 0 }" in target


LINES = {
    "{{0,1},{2,3}}": (0, 1),
    "[2,4]<=[8]": (0, 1, 2, 3),
    "[4,2]<=[2,4]T(1,0)": (0, 4),
    "[2,2,2]<=[8]": (0, 1, 2, 3),
    "mesh['a'=2,'b'=4] {'b'}": (0, 1, 2, 3),
    "mesh['a'=2,'b'=4] {'a'}": (0, 4),
    "mesh['a'=2,'b'=4] {'a','b'}": (0, 1, 2, 3, 4, 5, 6, 7),
    "mesh['x'=1,'y'=2,'z'=4], device_ids=([4,2]T(1,0)) {'y'}": (0, 1),  # turned: z counts in steps of 2
    "mesh['x'=1,'y'=2,'z'=4], device_ids=([4,2]T(1,0)) {'z'}": (0, 2, 4, 6),
    "mesh['a'=8] {'a':(1)2}": (0, 4),
    "mesh['a'=8] {'a':(2)4}": (0, 1, 2, 3),
}


@pytest.mark.parametrize("said", LINES)
def test_groups_in_every_way_they_are_written(said: str) -> None:
    assert (
        hlo.group_of(f"%r = f32[4] all-reduce(%x), channel_id=1, replica_groups={said}, to_apply=%add", 8)
        == LINES[said]
    )


def test_without_groups_all_devices_take_part() -> None:
    assert hlo.group_of("%r = f32[4] all-reduce(%x), channel_id=1, to_apply=%add", 4) == (0, 1, 2, 3)


def test_types_and_their_bytes() -> None:
    assert hlo.shape_bytes("f32[4,8]{1,0:T(8,128)}") == 128
    assert (
        hlo.shape_bytes("(bf16[3]{0:T(256)(128)(2,1)}, pred[5], f8e4m3fn[7], s64[], /*index=5*/token[])")
        == 6 + 5 + 7 + 8
    )
    assert hlo.elements("((f32[2,8], f32[4]), f32[4,8]{1,0:T(8,128)}, u32[])") == [
        "(f32[2,8], f32[4])", "f32[4,8]{1,0:T(8,128)}", "u32[]",
    ]  # fmt: skip
    assert hlo.elements("f32[2]{0}") == ["f32[2]{0}"]


TPU = """\
%all-reduce-scatter.clone.1 (input.2: f32[8,8]) -> f32[8,4] {
  %input.2 = f32[8,8]{1,0:T(8,128)} parameter(0)
  %all-reduce.5 = f32[8,8]{1,0:T(8,128)} all-reduce(%input.2), channel_id=5, replica_groups={{0,1},{2,3}}, to_apply=%add
  ROOT %slice = f32[8,4]{1,0:T(8,128)} dynamic-slice(%all-reduce.5, %c, %i), dynamic_slice_sizes={8,4}
}

%async_fusion.1 (p: f32[8,4]) -> f32[8,8] {
  ROOT %g.1 = f32[8,8]{1,0} all-gather(%p), channel_id=7, replica_groups={{0,1},{2,3}}, dimensions={1}
}

%async_fusion.2 (p: f32[8,4]) -> f32[8,8] {
  ROOT %g.2 = f32[8,8]{1,0} all-gather(%p), channel_id=7, replica_groups={{0,1},{2,3}}, dimensions={1}
}

%condition.1 (p: (s32[], f32[8,4])) -> pred[] {
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  %limit.clone = s32[]{:T(128)} constant(26)
  ROOT %lt.7 = pred[]{:T(512)} compare(%i, %limit.clone), direction=LT
}

%condition.2 (p: (s32[], s32[], f32[8,4])) -> pred[] {
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  %n = s32[]{:T(128)} get-tuple-element(%p), index=1
  ROOT %lt.8 = pred[]{:T(512)} compare(%i, %n), direction=LT
}

%layer (p: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %a = f32[8,8]{1,0} fusion(%x), kind=kCustom, calls=%async_fusion.1
  %b = f32[8,8]{1,0} fusion(%a), kind=kCustom, calls=%async_fusion.2
  ROOT %s = f32[8,4]{1,0} fusion(%b), kind=kCustom, calls=%all-reduce-scatter.clone.1
}

%part (p: (s32[], s32[], f32[8,4])) -> (s32[], s32[], f32[8,4]) {
  %r = f32[16]{0} all-reduce(%x), channel_id=9, replica_groups=[1,4]<=[4], to_apply=%add
}

%step (p: (s32[], s32[], f32[8,4])) -> (s32[], s32[], f32[8,4]) {
  %w = (s32[], f32[8,4]{1,0}) while(%t), condition=%condition.1, body=%layer
  %v = (s32[], s32[], f32[8,4]{1,0}) while(%t), condition=%condition.2, body=%part
  %send.2 = (f32[8,4]{1,0:T(8,128)}, u32[], token[]) send(%x, %y), channel_id=7, is_host_transfer=true, \
frontend_attributes={_xla_megascale_target="{1,2}x{0:3}",_xla_megascale_transfer_type="ALL_REDUCE"}
  %send-done.2 = token[] send-done(%send.2), channel_id=7
  %recv.2 = (f32[8,4]{1,0:T(8,128)}, u32[], token[]) recv(%y), channel_id=8, is_host_transfer=true, \
frontend_attributes={_xla_megascale_target="{1,2}x{0:3}",_xla_megascale_transfer_type="ALL_REDUCE"}
}

ENTRY %main (p: f32[8,4]) -> f32[8,4] {
  %start = ((f32[8,8]{0,1}), f32[8,4]{0,1}) reduce-scatter-start(%x), channel_id=11, replica_groups={{0,1},{2,3}}
  %done = f32[8,4]{0,1} reduce-scatter-done(%start)
  %g = (f32[8,4]{0,1}, f32[8,16]{0,1}) all-gather-start(%x), channel_id=12, replica_groups=[1,4]<=[4], dimensions={1}
  %h = f32[8,16]{0,1} all-gather-done(%g)
  %q = (f32[4]{0}, f32[4]{0}, u32[], u32[]) collective-permute-start(%x), channel_id=13, source_target_pairs={{0,1}}
  ROOT %w = (s32[], s32[], f32[8,4]{1,0}) while(%t), condition=%condition.2, body=%step
}
"""


def test_every_way_in_which_programs_write_collectives() -> None:
    found = {
        (r["per"], r["kind"], r["among"]): (r["count"], r["bytes"], r["wire_bytes"])
        for r in collectives.collectives(TPU, 4)
    }
    assert found == {
        ("step", "all-gather", 2): (26, 26 * 256, 26 * 128),  # of 26 layers; two fusions of one channel are one
        ("step", "reduce-scatter", 2): (26, 26 * 128, 26 * 128),  # half of the 256 bytes that it takes
        ("step", "between slices", 2): (1, 128, 128),  # a send on a channel that a collective has too
        ("round", "all-reduce", 4): (1, 64, 96),  # in a loop in the step whose rounds nobody knows
        ("dispatch", "reduce-scatter", 2): (1, 128, 128),
        ("dispatch", "all-gather", 4): (1, 512, 384),
        ("dispatch", "collective-permute", 4): (1, 16, 16),
    }


def test_work_is_counted_by_piece() -> None:
    steps = [i for i in hlo.instructions(TPU) if i.per == "step" and not i.fused and i.operation not in hlo.FREE]
    assert sum(i.times for i in steps) == 26 * 3 + 2  # three fusions a layer; a send and a receive


def chip_devices(shape: tuple[int, int], per_host: int = 8) -> list[SimpleNamespace]:
    places = [(i, j) for i in range(shape[0]) for j in range(shape[1])]
    return [SimpleNamespace(coords=place, process_index=i // per_host) for i, place in enumerate(places)]


def sent(group: int, size: int, kind: str = "all-reduce", start: int = 0) -> Collective:
    share = 2 * (group - 1) / group
    return Collective(kind, "step", 1, size, round(share * size), tuple(range(start, start + group)))


def test_seconds_of_collectives() -> None:
    pod = topology("v5e:16x16")
    whole = roofline.talk(pod, chip_devices((16, 16)), sent(256, 10**9), 1)
    assert whole == pytest.approx(1e-6 + 2 * 255 / 256 * 1e9 / (200e9 * 0.9))
    line = roofline.talk(pod, chip_devices((16, 16)), sent(16, 10**9), 1)  # one axis of two, a ring
    assert line == pytest.approx(1e-6 + 2 * 15 / 16 * 1e9 / (100e9 * 0.9))
    part = roofline.talk(pod, chip_devices((16, 16)), sent(4, 10**9), 1)  # a part of it: no ring
    assert part == pytest.approx(1e-6 + 2 * 3 / 4 * 1e9 / (50e9 * 0.9))
    host = topology("h200:1x8")
    near = roofline.talk(host, chip_devices((1, 8)), sent(8, 10**9), 0)
    assert near == pytest.approx(3e-5 + 2 * 7 / 8 * 1e9 / (450e9 * 0.6))
    cluster = topology("h200:8x8")
    far = roofline.talk(cluster, chip_devices((8, 8)), sent(64, 10**9), 0)
    inside, between = 2 * 7 / 8 * 1e9 / 450e9, 2 * 7 / 8 * 1e9 / 8 / 50e9
    assert far == pytest.approx(6e-5 + (inside + between) / 0.6)
    slices = roofline.talk(topology("v5e:4x4", 2), [], Collective("between slices", "step", 1, 8, 10**8, (0, 1)), 0)
    assert slices == pytest.approx(1e-4 + 1e8 / 3.125e9 / 0.6)


def test_seconds_of_a_step() -> None:
    pod, devices = topology("v5e:16x16"), chip_devices((16, 16))
    work = roofline.Work(197e12, 0, 0, [], "bfloat16")
    alone = roofline.estimate(pod, devices, work)
    assert alone["seconds"] == {"low": pytest.approx(1 / 0.6), "high": pytest.approx(1 / 0.3)}
    assert alone["mfu"] == {"low": pytest.approx(0.3), "high": pytest.approx(0.6)}
    talk = [sent(256, 10**11)]
    with_talk = roofline.estimate(pod, devices, replace(work, collectives=talk))
    # What is said hides behind the products at best, and follows them at worst.
    assert with_talk["seconds"]["low"] == pytest.approx(1 / 0.6)
    assert with_talk["seconds"]["high"] == pytest.approx(1 / 0.3 + 2 * 255 / 256 * 1e11 / (200e9 * 0.6) + 5e-6)
    bound = roofline.estimate(pod, devices, roofline.Work(1, 819e9, 10, [], "float32"))
    assert bound["parts"]["memory"] == [pytest.approx(1 / 0.6), pytest.approx(1 / 0.9)]
    assert bound["parts"]["starts"] == [pytest.approx(1e-5), pytest.approx(2e-6)]
    assert bound["seconds"]["low"] == pytest.approx(1 / 0.9)
    for name in ("v5e:16x16", "h200:8x8", "h100-1"):
        said = " ".join(roofline.assumptions(topology(name), "float32"))
        assert ("TF32" in said) == name.startswith("h") and ("links" in said) == (name != "h100-1")


def prepared_on(**parallel: int) -> workload.Prepared:
    experiment = resolve("zsl/cnn", "tiny", SMALL | {"training.by_length": "0"})
    experiment = replace(experiment, parallel=Parallel(**parallel))
    return workload.prepare(experiment, workload.assumed(experiment, 100, 20, 1000), make_mesh(experiment.parallel))


def test_bytes_are_predicted_from_the_rules() -> None:
    prepared = prepared_on(data=8)
    every = sum(4 * leaf.size for leaf in jax.tree.leaves(prepared.abstract["params"]))
    (one,) = wire.predicted(prepared)
    assert (one.kind, one.bytes, len(one.group)) == ("all-reduce", every, 8)
    assert one.wire_bytes == round(2 * 7 / 8 * every)
    split = wire.predicted(prepared_on(data=2, fsdp=4), scatters=False)
    # Nothing fills a tile: gathered among 4, summed among 4 and then, a quarter each, among 2.
    assert [(c.kind, len(c.group), c.group[:2]) for c in split] == [
        ("all-gather", 4, (0, 1)), ("all-reduce", 4, (0, 1)), ("all-reduce", 2, (0, 4)),
    ]  # fmt: skip
    assert split[0].wire_bytes == round(3 / 4 * every) and split[2].bytes == pytest.approx(every / 4)
    tensor = wire.predicted(prepared_on(data=4, tensor=2), activations=1000)
    assert [(c.kind, c.wire_bytes) for c in tensor][-1] == ("all-reduce", 1000)


def test_of_a_row_sparse_table_the_rows_are_sent() -> None:
    prepared = prepared_on(data=8)
    experiment = replace(prepared.experiment, training=replace(prepared.experiment.training, rows=64))
    large = workload.assumed(experiment, 5000, 20, 1000)
    dense, few = (
        wire.predicted(workload.prepare(one, large, prepared.mesh))[0].bytes
        for one in (prepared.experiment, experiment)
    )
    width = prepared.abstract["params"]["word_table"]["table"].shape[1]
    ids = 1 + 64 * 16  # of a batch; a table of so many rows and more sends no more than these
    assert dense - few == 4 * width * (ids - 64)


def test_the_rule_agrees_with_the_compiled_program() -> None:
    prepared = prepared_on(data=8)
    program = prepared.dispatch.lower(*prepared.arguments).compile().as_text()
    read = sum(c.times * c.wire_bytes for c in collectives.find(program, 8) if c.per == "step")
    assert read == pytest.approx(sum(c.wire_bytes for c in wire.predicted(prepared)), rel=0.05)


def test_meshes_whose_product_is_the_devices() -> None:
    found = list(propose.meshes(16))
    assert found[0] == {"data": 16, "fsdp": 1, "tensor": 1} and len({tuple(m.values()) for m in found}) == len(found)
    assert all(m["data"] * m["fsdp"] * m["tensor"] == 16 and m["tensor"] <= 8 for m in found)
    assert len(found) == 15 - 1  # of all ways to write 16 as three factors, one has a tensor of 16


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> tuple[Topology, list[Any]]:
    """Eight simulated devices in the place of a host of GPUs, whose memory can be made small."""
    return topology("h200:1x8"), jax.devices()


def test_a_mesh_is_proposed(stand_in: tuple[Topology, list[Any]]) -> None:
    machine, devices = stand_in
    experiment = resolve("zsl/cnn", "tiny", SMALL | {"training.by_length": "0"})
    work = workload.assumed(experiment, 100, 20, 1000)
    found = propose.propose(experiment, work, devices, machine, tries=2)
    assert [row["mesh"] for row in found["meshes"]][0] == {"data": 8, "fsdp": 1, "tensor": 1}
    tried = [row for row in found["meshes"] if row["compiled"]]
    assert len(tried) == 2 and found["best"] in [row["mesh"] for row in tried]
    least = min(tried, key=lambda row: sum(row["compiled"]["seconds"].values()))
    assert found["best"] == least["mesh"]
    assert len(found["meshes"]) + found["refused"].get("meshes", 0) == len(list(propose.meshes(8)))
    assert json.loads(json.dumps(found)) == found
    said = machine_text.tried({"recipe": "zsl/cnn"} | found)
    best = " ".join(f"--parallel.{axis} {n}" for axis, n in found["best"].items())
    assert f"give to jaxtag train: {best}\n" in said and said.count("<- the fastest that fits") == 1


@pytest.mark.slow
def test_none_is_proposed_where_none_fits(stand_in: tuple[Topology, list[Any]]) -> None:
    machine, devices = stand_in
    small = replace(machine, chip=replace(machine.chip, memory=1000))
    experiment = resolve("zsl/cnn", "tiny", SMALL | {"training.by_length": "0"})
    found = propose.propose(experiment, workload.assumed(experiment, 100, 20, 1000), devices, small, tries=1)
    assert sum(bool(row["compiled"]) for row in found["meshes"]) == 2  # one more, because the first does not fit
    assert found["best"] is None and "none of the meshes that were compiled fits" in machine_text.tried(
        {"recipe": "zsl/cnn"} | found
    )
    odd = replace(experiment, training=replace(experiment.training, batch=7))
    with pytest.raises(JaxtagError, match="no mesh of 8 devices divides: training.batch is 7"):
        propose.propose(odd, workload.assumed(experiment, 100, 20, 1000), devices, machine)


def test_machines_of_weak_scaling() -> None:
    names = lambda name: [m.name for m in scaling.machines_up_to(topology(name))]  # noqa: E731
    assert names("v5e-256") == ["v5e:1x1", "v5e:16x16"]
    assert names("v5p-256") == ["v5p:2x2x1", "v5p:4x4x8"]
    assert names("h200:8x8") == ["h200:1x1", "h200:1x8", "h200:8x8"]
    assert names("h200-1") == ["h200:1x1"]
    slices = [m.name for m in scaling.machines_up_to(topology("v5e-4", 2))]
    assert slices == ["v5e:1x1", "v5e:2x2", "2 x v5e:2x2"]


def test_options_that_do_not_go_together(capsys: pytest.CaptureFixture) -> None:
    for given, said in (
        (["--propose"], "--propose is about a machine that is not there; name it: --topology"),
        (["--slices", "2"], "--slices is about a machine"),
        (["--topology", "v5e-16", "--devices", "8"], "--topology and --devices both say"),
        (["--topology", "v5e-16", "--propose", "--weak-scaling"], "are two plans"),
        (["--topology", "v5e-16", "--effort", "3"], "--effort is 3; it must be from -1 to 1"),
        (["--topology", "v5e-17"], "the nearest: v5e-16 or v5e-32"),
    ):
        assert call("plan", "zsl/cnn", *given) == 2
        told = capsys.readouterr().err
        assert said in told and told.count("\n") == 1


@pytest.mark.parametrize(("kind", "name", "extra"), [("tpu", "v5e-16", "tpu"), ("gpu", "h200-8", "plan-gpu")])
def test_what_to_install_is_named(kind: str, name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead.importlib.util, "find_spec", lambda module: None)
    with pytest.raises(JaxtagError, match=rf"not installed; pip install 'jaxtag\[{extra}\]'"):
        ahead.absent_devices(topology(name))


@pytest.fixture
def settings_restored() -> Iterator[None]:
    """What compiling for other devices sets is as before."""
    names = ("jax_platforms", "jax_enable_compilation_cache", "jax_exec_time_optimization_effort")
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.parametrize(
    ("name", "slices", "kinds"),
    [
        pytest.param("v5e:4x4", 1, {"all-reduce"}, marks=needs["tpu"]),
        pytest.param("v5e:2x2", 2, {"between slices", "all-gather"}, marks=needs["tpu"]),
        pytest.param("v4-16", 1, {"all-reduce"}, marks=needs["tpu"]),
        pytest.param("h200:2x8", 1, {"all-reduce"}, marks=needs["gpu"]),
    ],
)
@pytest.mark.usefixtures("settings_restored")
def test_a_step_is_compiled_for_devices_that_are_not_there(name: str, slices: int, kinds: set[str]) -> None:
    machine = topology(name, slices)
    devices = ahead.absent_devices(machine, effort=-1.0)
    assert len(devices) == machine.count
    experiment = resolve("zsl/cnn", "tiny", SMALL | {"training.by_length": "0"})
    found = plan.describe(experiment, workload.assumed(experiment, 100, 20, 1000), devices, machine)
    assert found["devices"]["absent"] and not found["devices"]["simulated"] and found["fits"]["fits"]
    step = [row for row in found["collectives"] if row["per"] == "step"]
    assert kinds <= {row["kind"] for row in step}
    carried = {row["kind"]: row["bytes"] for row in step}
    # All gradients, once; over slices a part of them each, padded to a tile's 1024 numbers.
    each = carried.get("between slices", 0) * 4 or carried["all-reduce"]
    assert 4 * found["parameters"] <= each <= 4 * found["parameters"] * 1.15 + 4096 * 4 * (slices > 1)
    low, high = found["estimate"]["seconds"]["low"], found["estimate"]["seconds"]["high"]
    assert 0 < low < high and found["estimate"]["wire_bytes"] > 0
    said = text.render(found)
    assert f"on {machine.name}: " in said and "  fits: " in said and "assumed:" in said and "not there" in said
    assert json.loads(json.dumps(found)) == found


@needs["tpu"]
@pytest.mark.usefixtures("settings_restored")
def test_a_mesh_may_split_an_axis_of_the_torus() -> None:
    mesh = make_mesh(Parallel(data=8, fsdp=2), ahead.absent_devices(topology("v5e:4x4")))
    pairs = mesh.devices.reshape(8, 2)
    assert all(sum(abs(a - b) for a, b in zip(one.coords, two.coords)) == 1 for one, two in pairs)


@needs["tpu"]
@pytest.mark.usefixtures("settings_restored")
def test_a_step_that_does_not_fit_says_so() -> None:
    machine = topology("v5e-1")
    experiment = resolve("zsl/cnn", "tiny", SMALL)
    work = workload.assumed(experiment, 500_000_000, 20, 1000)
    found = plan.describe(experiment, work, ahead.absent_devices(machine, effort=-1.0), machine)
    assert not found["fits"]["fits"] and "memory" in found["fits"]["said"] and "estimate" not in found
    assert "does not fit: " in text.render(found) and not found["bytes_per_device"]["compiled"]
