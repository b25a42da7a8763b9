"""Against Hugging Face's LxmertModel in PyTorch: the same weights give the same outputs and gradients; files agree."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.models.lxmert import Encoder, Model, Settings
from jaxtag.models.lxmert_weights import settings_of
from jaxtag.training import pretrained
from jaxtag.training.weight_files import open_weights

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install -e '.[parity]'")
transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install -e '.[parity]'")
pytestmark = pytest.mark.parity

SIZES = {
    "vocab_size": 40, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 16, "l_layers": 3, "r_layers": 2, "x_layers": 3, "visual_feat_dim": 12,
}  # fmt: skip


def theirs(spread: float, **sizes: int) -> Any:
    """Their model with every parameter drawn, biases and scales too, and no dropout."""
    torch.manual_seed(0)
    model = transformers.LxmertModel(transformers.LxmertConfig(**sizes)).eval()
    if spread:
        for p in model.parameters():
            torch.nn.init.normal_(p, float(p.detach().mean() > 0.9), spread)
    return model


def posts(settings: Settings, words: int, lengths: list[int], counts: list[int]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    b, t, r = len(lengths), max(lengths) + 2, max(counts) + 1
    real, objects = np.arange(t) < np.array(lengths)[:, None], np.arange(r) < np.array(counts)[:, None]
    features, boxes = np.abs(rng.normal(size=(b, r, settings.features))), rng.random((b, r, 4))
    return {
        "wordpieces": np.where(real, rng.integers(1, words, (b, t)), 0).astype(np.int32),
        "regions": np.where(objects[..., None], features, 0).astype(np.float32),
        "boxes": np.where(objects[..., None], boxes, 0).astype(np.float32),
        "cells": np.array(counts, np.int32),
    }  # fmt: skip


def compare(model: Any, folder: Path, batch: dict[str, np.ndarray]) -> None:
    """Outputs within 2e-5; gradients of a random sum of them within 1e-4, by L2 norm per tensor."""
    model.save_pretrained(folder)
    settings, words = settings_of(model.config.to_dict()), model.config.vocab_size
    pieces = [str(i) for i in range(words)]
    params = pretrained.read(folder, settings, words, pieces)
    encoder = Model(settings, words, 8)
    real = batch["wordpieces"] != 0
    objects = np.arange(batch["regions"].shape[1]) < batch["cells"][:, None]
    out = model(
        torch.tensor(batch["wordpieces"]).long(), torch.tensor(batch["regions"]), torch.tensor(batch["boxes"]),
        attention_mask=torch.tensor(real).float(), visual_attention_mask=torch.tensor(objects).float(),
    )  # fmt: skip
    expected = (out.language_output, out.vision_output, out.pooled_output)
    rng = np.random.default_rng(1)
    masks = (real[..., None], objects[..., None], True)
    pulls = [np.where(m, rng.normal(size=tuple(x.shape)), 0).astype(np.float32) for x, m in zip(expected, masks)]
    sum((x * torch.tensor(pull)).sum() for x, pull in zip(expected, pulls)).backward()

    def total(params: Any) -> tuple[jax.Array, Any]:
        found = encoder.apply({"params": {"encoder": params}}, batch, 0.0, None, method="encode")
        return sum(jnp.sum(x * pull) for x, pull in zip(found, pulls)), found

    (_, found), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(params)
    for name, a, b, m in zip(("language", "vision", "pooled"), found, expected, masks, strict=True):
        np.testing.assert_allclose(a * m, b.detach().numpy() * m, atol=2e-5, rtol=0, err_msg=name)
    ours = pretrained.tensors_of(jax.tree.map(np.asarray, gradient), settings, words)
    norms = {name: float(p.grad.norm()) for name, p in model.named_parameters() if p.grad is not None}
    assert set(ours) == {name for name, _ in model.named_parameters()}
    for name, p in model.named_parameters():
        grad = np.zeros(tuple(p.shape), np.float32) if p.grad is None else p.grad.numpy()
        apart = np.linalg.norm(ours[name].read() - grad)
        assert apart <= 1e-4 * max(norms.get(name, 0), 1), (name, apart, norms.get(name))


def test_outputs_and_gradients(tmp_path: Path) -> None:
    """With padding, missing objects, and a post without any."""
    model = theirs(0.1, **SIZES)
    compare(model, tmp_path / "m", posts(settings_of(SIZES), 40, [8, 3, 1, 6], [5, 2, 0, 3]))


@pytest.mark.slow
def test_outputs_and_gradients_at_full_size(tmp_path: Path) -> None:
    model = theirs(0.0)
    assert sum(p.numel() for p in model.parameters()) == 207_936_768
    compare(model, tmp_path / "m", posts(Settings(), 30522, [20, 9], [36, 10]))


def test_their_files_are_read_and_ours_by_them(tmp_path: Path) -> None:
    model = transformers.LxmertForPreTraining(transformers.LxmertConfig(**SIZES))
    state = {name: value.numpy() for name, value in model.lxmert.state_dict().items()}
    settings, pieces = settings_of(SIZES), [str(i) for i in range(40)]
    model.save_pretrained(tmp_path / "folder")
    originals = {f"module.bert.{name}": value for name, value in model.lxmert.state_dict().items()}
    originals["module.cls.predictions.decoder.weight"] = originals["module.bert.embeddings.word_embeddings.weight"]
    torch.save(originals, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save(model.state_dict(), tmp_path / "new.bin")
    params = pretrained.read(tmp_path / "folder", settings, 48, pieces)
    for name in ("old.pth", "new.bin"):
        jax.tree.map(np.testing.assert_array_equal, pretrained.read(tmp_path / name, settings, 48, pieces), params)
    pretrained.write(tmp_path / "ours", params, settings, pieces)
    again = transformers.LxmertModel.from_pretrained(tmp_path / "ours")
    for name, value in again.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[name])
    assert again.config.x_layers == 3 and again.config.hidden_size == 32
    assert set(open_weights(tmp_path / "ours" / "model.safetensors")) == set(state)


def test_an_exported_run_is_theirs(tmp_path: Path) -> None:
    """Loaded whole, nothing missing and nothing over, and with our outputs for the posts of the dataset."""
    from jaxtag.cli import main
    from jaxtag.data.dataset import open_dataset
    from jaxtag.recipes import resolve
    from jaxtag.runs import bind, open_run
    from jaxtag.training.restored import restore_best
    from jaxtag.training.train import train
    from tests import toy, toy_zero_shot

    dataset = open_dataset(toy_zero_shot.make(tmp_path / "data", 80))
    settings = {"training.steps": 1, "training.batch": 16, "evaluation.batch": 16}
    experiment = resolve("lxmert4hashtag/lxmert", "tiny", settings)
    train(tmp_path / "run", "lxmert4hashtag/lxmert", bind(experiment, dataset, dataset.split(), jax.devices()[:1]))
    main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "lxmert")])
    loading = {"output_loading_info": True}
    model, info = transformers.LxmertModel.from_pretrained(tmp_path / "lxmert", **loading)
    assert not any(info[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    bound, _ = open_run(tmp_path / "run")
    batch = bound.reading.gather(bound.split.test[:4])
    assert batch["wordpieces"].max() < model.config.vocab_size
    params = restore_best(tmp_path / "run", bound)["params"]
    found = bound.system.module.apply({"params": params}, batch, 0.0, None, method="encode")
    real, objects = batch["wordpieces"] != 0, np.arange(toy.CELLS) < batch["cells"][:, None]
    out = model.eval()(
        torch.tensor(batch["wordpieces"]).long(), torch.tensor(batch["regions"]), torch.tensor(batch["boxes"]),
        attention_mask=torch.tensor(real).float(), visual_attention_mask=torch.tensor(objects).float(),
    )  # fmt: skip
    for ours, theirs_, mask in zip(found, (out.language_output, out.vision_output, out.pooled_output),
                                   (real[..., None], objects[..., None], True)):  # fmt: skip
        np.testing.assert_allclose(ours * mask, theirs_.detach().numpy() * mask, atol=2e-5)


def test_a_bert_of_theirs_goes_into_the_language_encoder(tmp_path: Path) -> None:
    sizes = {k: v for k, v in SIZES.items() if k in ("vocab_size", "hidden_size", "intermediate_size")}
    config = transformers.BertConfig(num_hidden_layers=4, num_attention_heads=4, max_position_embeddings=16, **sizes)
    bert = transformers.BertForPreTraining(config).eval()
    bert.save_pretrained(tmp_path / "bert")
    settings = settings_of(SIZES | {"l_layers": 4})
    found = pretrained.read(tmp_path / "bert", settings, 40, [str(i) for i in range(40)], "bert")
    batch = posts(settings, 40, [8, 3], [2, 1])
    real = batch["wordpieces"] != 0

    def language(encoder: Encoder, ids: jax.Array) -> jax.Array:
        x, mask = encoder.text(ids, 0.0, None)
        return encoder.language(x, mask, 0.0, None)

    ours = Encoder(settings, 40).apply({"params": found}, batch["wordpieces"], method=language)
    expected = bert.bert(torch.tensor(batch["wordpieces"]).long(), torch.tensor(real).long()).last_hidden_state
    np.testing.assert_allclose(ours * real[..., None], expected.detach().numpy() * real[..., None], atol=2e-5)


def test_the_measured_twin_gives_our_scores() -> None:
    from jaxtag.bench import posts as made
    from jaxtag.bench import theirs as side
    from jaxtag.bench import twins
    from jaxtag.building import build
    from jaxtag.parallel.mesh import unbox
    from jaxtag.plan.workload import sizes_of
    from jaxtag.recipes import resolve

    experiment = resolve("lxmert4hashtag/lxmert", "tiny", {"training.batch": "4", "data.length": "8"})
    some = made.made_up(experiment, 40, 8, 20)
    sizes = sizes_of(experiment, some.workload)
    assert sizes.image == {"regions": (36, 2048), "boxes": (36, 4)} and sizes.lengths == {"wordpieces": 8}
    system, network = build(experiment, sizes), twins.build(experiment, sizes).eval()
    p = jax.tree.map(np.array, unbox(system.init(jax.random.key(0))["params"]))
    assert sum(x.numel() for x in network.parameters()) == sum(x.size for x in jax.tree.leaves(p))
    tensors = pretrained.tensors_of(p["encoder"], experiment.model, sizes.words)
    network.encoder.load_state_dict({name: torch.tensor(stored.read()) for name, stored in tensors.items()})
    for layer, ours in ((network.hidden, p["hidden"]), (network.head, p["head"])):
        layer.weight.data, layer.bias.data = torch.tensor(ours["kernel"].T.copy()), torch.tensor(ours["bias"])
    batch = some.reading.gather(np.arange(4))
    tokens, lengths = torch.tensor(batch["wordpieces"]).long(), torch.full((4,), 8)
    more = {name: torch.tensor(batch[name]) for name in ("regions", "boxes")}
    expected = network(tokens, lengths, "padded", **more).detach().numpy()
    found = jax.jit(lambda b: system.module.apply({"params": p}, b, 0.0, None))(batch)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    running = side.Theirs(experiment, some)
    running.steps(1)
    assert running.described["parameters"] == sum(x.numel() for x in network.parameters())
