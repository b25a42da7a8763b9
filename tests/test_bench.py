"""Measuring: the arithmetic of a comparison, made-up posts, and the sides themselves at the smallest size."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxtag.bench import posts, step
from jaxtag.data.posts import FIRST_WORD
from jaxtag.errors import JaxtagError
from jaxtag.recipes import resolve

SMALL = {"training.batch": "16", "model.embedding": "8", "data.length": "16"}
TWINS = ["zsl/ann", "zsl/cnn", "zsl/rnn", "zsl/rnn_attention", "zsl/transformer"]
TWINS += ["hmemn2n/hmemn2n", "hmemn2n/memn2n", "hmemn2n/cnn_attention"]


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


def test_made_up_posts_have_histories_and_words_that_may_be_equally_likely() -> None:
    experiment = resolve("hmemn2n/hmemn2n", "tiny", {"data.history": "3", "data.history_length": "12"})
    made = posts.made_up(experiment, 500, 50, 4000, uniform=True)
    counts = np.bincount(made.reading.columns["tokens"].values - FIRST_WORD, minlength=500)
    assert counts.max() < 1.5 * counts.mean() and made.source == "made up, words equally likely"
    history = made.reading.gather(made.rows[:64])["history"]
    assert history.shape == (64, 3, 12) and history[..., 0].all() and not history[..., -1].all()
    assert (history != 0).sum((1, 2)).mean() < made.reading.packed == made.workload.packed


def test_our_side_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    asked = {"side": "jaxtag", "recipe": "zsl/ann", "size": "tiny", "overrides": SMALL, "words": 50, "hashtags": 5,
             "data": "", "split": "", "threads": 1, "torch_compile": False, "uniform": False, "full": False,
             "devices": 0}  # fmt: skip
    given = [asked, {"seconds": 0.05}, {"detail": True}, {"trace": str(tmp_path)}]
    done = subprocess.run(
        [sys.executable, "-m", "jaxtag.bench.worker"], input="".join(json.dumps(line) + "\n" for line in given),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    described, block, told, trace = (json.loads(line) for line in done.stdout.splitlines())
    assert described["batch"] == 16 and described["lengths"]["tokens"] == 16 and described["parameters"] > 0
    assert block["steps"] >= 1 and block["seconds"] >= 0.05 and block["cpu_seconds"] > 0
    assert described["compile_seconds"] > 0 and described["kept_seconds"] > 0 and told["memory_mib"] > 0
    found = step.summary("zsl/ann", {"jaxtag": described}, {"jaxtag": [block]}, {"jaxtag": told})
    shares = found["sides"]["jaxtag"]["shares"]
    assert shares["mfu"] > 0 and 0 < shares["useful"] <= 1 and 0 < shares["input"] <= 1
    said = step.render({"recipes": [found], "rounds": 1, "block_seconds": 0.05, "machine": "m", "cores": 2})
    assert "MFU" in said and "(measured here)" in said
    assert trace["steps"] >= 3 and any(name.endswith("perfetto_trace.json.gz") for name in trace["files"])


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
    from jaxtag.building import build
    from jaxtag.plan.workload import sizes_of

    experiment = resolve(name, "tiny", SMALL)
    made = posts.made_up(experiment, 50, 5, 200)
    sizes = sizes_of(experiment, made.workload)
    params = jax.eval_shape(lambda: build(experiment, sizes).init(jax.random.key(0)))["params"]
    ours = sum(int(np.prod(x.shape)) for x in jax.tree.leaves(params))
    network = twins.build(experiment, sizes)
    assert sum(p.numel() for p in network.parameters()) - twins.extra_parameters(network) == ours
    # Every form gives the same scores: padding changes nothing.
    network.eval()
    batch = {n: torch.from_numpy(x).long() for n, x in made.reading.gather(made.rows[:6]).items()}
    tokens, lengths = batch["tokens"], (batch["tokens"] != 0).sum(1)
    more = [{}, {}]
    if "history" in batch:
        batch["history"][0] = 0
        most = int((batch["history"] != 0).sum(2).max())
        more = [{"history": batch["history"]}, {"history": batch["history"][..., :most]}]
    forms = twins.LENGTHS[experiment.system]
    with torch.no_grad():
        padded = network(tokens, lengths, "padded", **more[0])
        short = tokens[:, : int(lengths.max())]
        for form in forms:
            torch.testing.assert_close(network(short, lengths, form, **more[1]), padded, atol=1e-5, rtol=1e-5)
    monkeypatch.setattr(theirs, "TRIAL_SECONDS", 0.0)
    side = theirs.Theirs(experiment, made)
    before = [p.detach().clone() for p in side._network.parameters()]
    side.steps(2)
    moved = [not torch.equal(a, b) for a, b in zip(before, side._network.parameters())]
    assert all(moved) and side.described["parameters"] == ours
    sparse = [f"{form} sparse" for form in forms] if experiment.training.optimizer == "adagrad" else []
    assert set(side.described["tried"]) == {*forms, *sparse}
    for form in sparse[:1]:
        side._use(form)
        before = [p.detach().clone() for p in side._network.parameters()]
        side.steps(1)
        assert all(not torch.equal(a, b) for a, b in zip(before, side._network.parameters()))


@pytest.mark.parity
@pytest.mark.parametrize("name", ["hmemn2n", "memn2n", "cnn_attention"])
def test_a_memory_networks_twin_gives_our_scores(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install -e '.[parity]'")
    import jax

    from jaxtag.bench import twins
    from jaxtag.building import build
    from jaxtag.parallel.mesh import unbox
    from jaxtag.plan.workload import sizes_of

    experiment = resolve(f"hmemn2n/{name}", "tiny", SMALL)
    made = posts.made_up(experiment, 50, 5, 200)
    sizes = sizes_of(experiment, made.workload)
    system, network = build(experiment, sizes), twins.build(experiment, sizes).eval()
    p = jax.tree.map(np.array, unbox(system.init(jax.random.key(0)))["params"])
    names = {
        "word_table": "words",
        "key_table": "keys",
        "value_table": "values",
        "joined": "joined.1",
        "head": "joined.2",
    }
    if name == "cnn_attention":
        names = {"word_table": "table", "head": "head"}
        filters = [(network.scorer, p["scorer"]["kernel_5"])]
        filters += [(bank, p["bank"][f"kernel_{i}"]) for i, bank in enumerate(network.banks, 1)]
        for layer, kernel in filters:
            layer.weight.data = torch.from_numpy(kernel.transpose(2, 1, 0).copy())
            layer.bias.data.zero_()  # as ours start
    for key in set(p) - {"scorer", "bank"}:
        module, value = network.get_submodule(names.get(key, key)), p[key]
        if isinstance(value, dict) and "table" in value:
            module.weight.data = torch.from_numpy(value["table"])
            module.weight.data[0] = 0
            continue
        kernel = value["kernel"] if isinstance(value, dict) else value
        module.weight.data = torch.from_numpy(kernel.T.copy())
        if module.bias is not None:
            module.bias.data.zero_()
    host = made.reading.gather(made.rows[:6])
    batch = {n: torch.from_numpy(x).long() for n, x in host.items()}
    more = {"history": batch["history"]} if "history" in batch else {}
    with torch.no_grad():
        theirs = network(batch["tokens"], (batch["tokens"] != 0).sum(1), "padded", **more).numpy()
    ours = jax.jit(lambda b: system.module.apply({"params": p}, b, 0.0, None))(host)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["vgg_object_scene", "multilabel_resnet", "coattention"])
def test_the_twin_of_a_system_that_reads_images_gives_our_scores_and_learns(name: str, monkeypatch) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install -e '.[parity]'")
    import jax

    from jaxtag.bench import theirs, twins
    from jaxtag.building import build
    from jaxtag.parallel.mesh import unbox
    from jaxtag.plan.workload import sizes_of
    from jaxtag.training.objectives import OBJECTIVES

    small = {"training.batch": "16", "data.length": "16"} if name == "coattention" else {"training.batch": "16"}
    experiment = resolve(f"amnn/{name}", "tiny", small)
    made = posts.made_up(experiment, 50, 8, 200)
    sizes = sizes_of(experiment, made.workload)
    system, network = build(experiment, sizes), twins.build(experiment, sizes)
    p = jax.tree.map(np.array, unbox(system.init(jax.random.key(0))["params"]))
    count = sum(x.size for x in jax.tree.leaves(p))
    assert sum(x.numel() for x in network.parameters()) - twins.extra_parameters(network) == count

    def put(layer, value) -> None:
        for ours, end in (("kernel", "weight"), ("scale", "weight"), ("table", "weight"), ("bias", "bias")):
            if ours in value:
                x = value[ours]
                getattr(layer, end).data = torch.from_numpy(x.T.copy() if ours == "kernel" else x)

    if name == "coattention":
        for ours, theirs_ in (("word_table", "table"), ("cells", "cells"), ("head", "head")):
            put(network.get_submodule(theirs_), p[ours])
        network.table.weight.data[0] = 0
        for kind in ("visual", "textual"):
            for i, layer in enumerate(network.get_submodule(kind)):
                guided = p[f"{kind}_{i}"]
                put(layer.own, {"kernel": guided["own"]})
                put(layer.guide, {"kernel": guided["guide"]})
                put(layer.score, {"kernel": guided["score"], "bias": guided["bias"]})
        lstm = network.lstm
        for end, letter in (("ih", "w"), ("hh", "u")):
            joined = np.concatenate([p["lstm"][f"{letter}_{gate}"] for gate in "ifgo"], 1)
            getattr(lstm, f"weight_{end}_l0").data = torch.from_numpy(joined.T.copy())
        lstm.bias_ih_l0.data = torch.from_numpy(np.concatenate([p["lstm"][f"b_{gate}"] for gate in "ifgo"]))
        lstm.bias_hh_l0.data.zero_()
    else:
        names = ["layers_0", "norms_0", None, "layers_1", "norms_1", None, "head"] if name[0] == "v" else ["head"]
        for layer, ours in zip(network.layers, names, strict=True):
            put(layer, p[ours] if ours else {})
    host = made.reading.gather(made.rows[:16])
    words = torch.from_numpy(host.get("tokens", np.zeros((16, 1), np.int32))).long()
    more = {n: torch.from_numpy(host[n]) for n in ("vector", "grid") if n in host}
    variables = {"params": p, **unbox({k: v for k, v in system.init(jax.random.key(0)).items() if k != "params"})}
    training = name == "vgg_object_scene"  # whose statistics are then the batch's on both sides
    keys = jax.random.split(jax.random.key(1), 16) if training else None
    ours = jax.jit(lambda v, b: system.module.apply(v, b, 0.0, keys, mutable=["statistics"])[0])(variables, host)
    network.train(training)
    scores = network(words, (words != 0).sum(1).clamp_min(1), "padded", **more)
    np.testing.assert_allclose(ours, scores.detach().numpy(), rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(theirs, "TRIAL_SECONDS", 0.0)
    side = theirs.Theirs(experiment, made)
    labels = torch.from_numpy(host["hashtags"]).long()
    judged: Any = OBJECTIVES[experiment.training.objective]
    loss, weight = judged(ours, host["hashtags"], np.ones(sizes.hashtags, bool), np.float32(0))
    np.testing.assert_allclose(side._loss(scores, labels).item(), loss.sum() / weight.sum(), rtol=1e-4)
    before = {n: x.detach().clone() for n, x in side._network.named_parameters()}
    side.steps(2)
    still = [n for n, x in side._network.named_parameters() if torch.equal(before[n], x)]
    assert not still and side.described["parameters"] == count


@pytest.mark.parity
@pytest.mark.parametrize("name", ["tab_lstm", "lstm_cnn", "tweet_embedding"])
def test_the_twin_of_a_baseline_gives_our_scores_and_learns(name: str, monkeypatch) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install -e '.[parity]'")
    import jax

    from jaxtag.bench import theirs, twins
    from jaxtag.building import build
    from jaxtag.layers.parameters import CONSTANTS
    from jaxtag.parallel.mesh import unbox
    from jaxtag.plan.workload import sizes_of

    experiment = resolve(f"lxmert4hashtag/{name}", "tiny", {"training.batch": "16", "data.length": "16"})
    made = posts.made_up(experiment, 50, 8, 200)
    sizes = sizes_of(experiment, made.workload)
    system, network = build(experiment, sizes), twins.build(experiment, sizes)
    draw = np.random.default_rng(0)
    variables = jax.eval_shape(lambda: unbox(system.init(jax.random.key(0))))
    variables = jax.tree.map(lambda x: draw.normal(size=x.shape, scale=0.1).astype(x.dtype), dict(variables))
    p, constants = variables.pop("params"), variables.get(CONSTANTS, {})
    count = sum(x.size for x in jax.tree.leaves(p))
    assert sum(x.numel() for x in network.parameters()) - twins.extra_parameters(network, experiment) == count

    def put(layer: str, **tensors: np.ndarray) -> None:
        for end, x in tensors.items():
            getattr(network.get_submodule(layer), end).data = torch.from_numpy(np.ascontiguousarray(x))

    def gates(layer: str, value: dict, order: str, second: dict) -> None:
        sign = lambda g: -1 if g == "z" else 1  # noqa: E731
        joined = {end: np.concatenate([sign(g) * value[f"{letter}_{g}"] for g in order], -1).T
                  for end, letter in (("weight_ih_l0", "w"), ("weight_hh_l0", "u"), ("bias_ih_l0", "b"))}  # fmt: skip
        own = np.concatenate([second.get(g, 0 * value[f"b_{g}"]) for g in order])
        put(layer, **joined, bias_hh_l0=own)

    dense = {"head": "head", "text": "text", "image": "image", "hashtag": "hashtag"}
    for ours, layer in dense.items():
        if "kernel" in p.get(ours, {}):
            put(layer, weight=p[ours]["kernel"].T, bias=p[ours]["bias"])
    if name == "tweet_embedding":
        constants["words"][0] = 0
        put("", words=constants["words"], vectors=constants["hashtags"])
        gates("text", p["text"], "rzh", {"h": p["text"]["c_h"]})
    else:
        p["word_table"]["table"][0] = 0
        put("table", weight=p["word_table"]["table"])
        gates("lstm", p["lstm"], "ifgo", {})
    if name == "tab_lstm":
        a = p["attention"]
        put("hidden", weight=a["hidden"]["kernel"].T)
        put("guide", weight=a["query"].T)
        put("score", weight=a["v"].T)
    host = made.reading.gather(made.rows[:16])
    words, labels = (torch.from_numpy(host[n]).long() for n in ("tokens", "hashtags"))
    more: dict[str, Any] = {n: torch.from_numpy(host[n]) for n in ("vector", "topics") if n in host}
    more |= {"labels": labels} if name == "tweet_embedding" else {}
    network.eval()
    found = {form: network(words, (words != 0).sum(1), form, **more) for form in ("padded", "packed")}
    numbers = {"dropout": np.float32(0), "allowed": np.ones(sizes.hashtags, bool), "smoothing": np.float32(0)}

    def loss_of(p: Any, rest: Any, batch: Any, numbers: Any) -> tuple[Any, Any]:
        loss, weight, _ = system.loss(p, rest, batch, numbers, None)
        return loss.sum() / weight.sum(), system.module.apply({"params": p, **rest}, batch, np.float32(0), None)

    loss, ours = jax.jit(loss_of)(p, variables, host, numbers)
    if name == "tweet_embedding":  # pairs of hashtags and each other view
        expected = [ours.right[0], ours.right[1], ours.left[0]]
        np.testing.assert_allclose(expected[2], ours.left[1])
        checked = [(a, b) for views in found.values() for a, b in zip(expected, views, strict=True)]
    else:
        checked = [(ours, scores) for scores in found.values()]
    for a, b in checked:
        np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(theirs, "TRIAL_SECONDS", 0.0)
    side = theirs.Theirs(experiment, made)
    np.testing.assert_allclose(side._loss(found["padded"], labels).item(), loss, rtol=1e-4)
    before = {n: x.detach().clone() for n, x in side._network.named_parameters()}
    side.steps(2)
    still = [n for n, x in side._network.named_parameters() if torch.equal(before[n], x)]
    assert not still and side.described["parameters"] == count


def _sequence_weights(network: Any, p: dict, name: str) -> None:
    """Put our parameters `p` into a twin of hashtag sequences; of a GRU all but U_h, which is 0 on both sides."""
    import torch

    put = lambda layer, end, x: setattr(getattr(layer, end), "data", torch.from_numpy(np.ascontiguousarray(x)))  # noqa: E731

    def dense(layer: Any, value: dict) -> None:
        put(layer, "weight", value["kernel"].T)
        put(layer, "bias", value["bias"])

    def gates(layer: Any, value: dict, order: str, end: str = "_l0") -> None:
        sign = lambda g: -1 if g == "z" else 1  # noqa: E731
        for ours, theirs in (("w", "ih"), ("u", "hh")):
            put(layer, f"weight_{theirs}{end}", np.concatenate([sign(g) * value[f"{ours}_{g}"] for g in order], 1).T)
        put(layer, f"bias_ih{end}", np.concatenate([sign(g) * value[f"b_{g}"] for g in order]))
        put(layer, f"bias_hh{end}", np.zeros(getattr(layer, f"bias_hh{end}").shape, np.float32))

    head = dict(p["scores"]["head"])
    if "end_kernel" in p["scores"]:
        head["kernel"] = np.concatenate([head["kernel"], p["scores"]["end_kernel"]], 1)
        head["bias"] = np.concatenate([head["bias"], p["scores"]["end_bias"]])
    dense(network.head, head)
    put(network.table, "weight", p["table"]["table"])
    if "start" in p["table"]:
        network.start.data = torch.from_numpy(p["table"]["start"])
    if name == "show_attend_tell":
        w = p["layers"]
        for layer in ("state_in", "state", "memory_in", "memory", "cells", "query", "output"):
            dense(network.get_submodule(layer), {"kernel": w[f"{layer}_kernel"], "bias": w[f"{layer}_bias"]})
        put(network.score, "weight", w["score"].T)
        moved = lambda x: np.concatenate([np.split(x, 4, -1)[i] for i in (0, 1, 3, 2)], -1)  # noqa: E731
        put(network.lstm, "weight_ih", moved(w["lstm_kernel"]).T)
        put(network.lstm, "weight_hh", moved(w["recurrent"]).T)
        put(
            network.lstm,
            "bias_ih",
            moved(w["lstm_bias"] + np.repeat(np.eye(4, dtype=np.float32)[1], len(w["recurrent"]))),
        )
        network.lstm.bias_hh.data.zero_()
    elif name == "nic":
        dense(network.image, p["image"])
        gates(network.lstm, p["lstm"], "ifgo")
    else:
        dense(network.merged, p["merged"])
        gates(network.gru, p["gru"], "rzh")
        if "word_table" in p:
            put(network.words, "weight", p["word_table"]["table"])
            gates(network.text, p["ahead"], "ifgo")
            gates(network.text, p["back"], "ifgo", "_l0_reverse")
            dense(network.word_score, {"kernel": p["text_attention"]["v"], "bias": p["text_attention"]["bias"]})
        if "image_lstm" in p:
            gates(network.image, p["image_lstm"], "ifgo")
            dense(network.hidden, p["image_attention"]["hidden"])
            put(network.cell_score, "weight", p["image_attention"]["v"].T)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["amnn", "amnn_image", "amnn_text", "nic", "show_attend_tell"])
def test_the_twin_of_a_system_of_sequences_gives_our_scores_and_learns(name: str, monkeypatch) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install -e '.[parity]'")
    import jax

    from jaxtag.bench import theirs, twins
    from jaxtag.building import build
    from jaxtag.parallel.mesh import unbox
    from jaxtag.plan.workload import sizes_of

    ends = {"model.end": "true"} if name == "amnn_image" else {}
    experiment = resolve(
        f"amnn/{name}", "tiny", {"training.batch": "16", "data.length": "16", "model.most": "8", **ends}
    )
    made = posts.made_up(experiment, 50, 8, 200)
    sizes = sizes_of(experiment, made.workload)
    system, network = build(experiment, sizes), twins.build(experiment, sizes)
    draw = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: unbox(system.init(jax.random.key(0))["params"]))
    p = jax.tree.map(lambda x: draw.normal(size=x.shape, scale=0.1).astype(x.dtype), shapes)
    count = sum(x.size for x in jax.tree.leaves(p))
    assert sum(x.numel() for x in network.parameters()) - twins.extra_parameters(network) == count
    if "gru" in p:
        p["gru"]["u_h"][:] = 0  # the twin resets after the product with it
    if "word_table" in p:
        p["word_table"]["table"][0] = 0
    _sequence_weights(network, p, name)
    host = made.reading.gather(made.rows[:16])
    words = torch.from_numpy(host.get("tokens", np.ones((16, 1)))).long()
    more = {n: torch.from_numpy(host[n]) for n in ("vector", "grid") if n in host}
    given = lambda labels: network(  # noqa: E731
        words, (words != 0).sum(1), "packed", labels=torch.from_numpy(labels).long(), **more
    )
    network.eval()
    whole = host | {"hashtags": draw.integers(0, 8, (16, 16), dtype=np.int32)}
    ours = jax.jit(lambda b: system.module.apply({"params": p}, b, np.float32(0), None))(whole)
    for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (ours, given(whole["hashtags"]))), strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-4, atol=1e-5)
    host["hashtags"][:2] = [[3, *[-1] * 15], [-1] * 16]
    numbers = {"dropout": np.float32(0), "allowed": np.ones(sizes.hashtags, bool), "smoothing": np.float32(0.1)}
    loss, weight, _ = system.loss(p, {}, host, numbers, None)
    monkeypatch.setattr(theirs, "TRIAL_SECONDS", 0.0)
    side = theirs.Theirs(experiment, made)
    side._smoothing = 0.1
    found = side._loss(given(host["hashtags"]), torch.from_numpy(host["hashtags"]).long())
    np.testing.assert_allclose(found.item(), loss.sum() / weight.sum(), rtol=1e-4)
    before = {n: x.detach().clone() for n, x in side._network.named_parameters()}
    side.steps(2)
    still = [n for n, x in side._network.named_parameters() if torch.equal(before[n], x)]
    assert not still and side.described["parameters"] == count
