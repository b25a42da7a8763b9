"""Checkpoints into the encoder and out of it, and files that are damaged, hostile or of another model."""

import json
import os
import struct
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtag.errors import JaxtagError
from jaxtag.models.lxmert import Settings
from jaxtag.models.lxmert_weights import config_of, lxmert, settings_of, without_prefix
from jaxtag.training import pretrained
from jaxtag.training.weight_files import MAGIC, PROTOCOL, Stored, open_weights, write_safetensors

TINY = Settings(8, 2, 16, language_layers=2, object_layers=2, cross_layers=3, places=6, features=5)
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(7))]
WORDS = 16  # rows: the pieces', and some to fit a mesh


@cache
def params() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    drawn = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), pretrained.shapes(TINY, WORDS))
    drawn["text"]["words"][len(PIECES) :] = 0
    return drawn


@cache
def tensors() -> dict[str, np.ndarray]:
    return {name: t.read() for name, t in pretrained.tensors_of(params(), TINY, len(PIECES)).items()}


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<i", v) for v in values) + b"t"


def pickled(made: dict[str, np.ndarray], size: int | None = None, view: bool = False) -> bytes:
    """A state dict as PyTorch writes it: opcodes, with the numbers referred to by key; `size` to lie about them."""
    out = b"\x80\x02ccollections\nOrderedDict\n)R"
    for key, (name, x) in enumerate(made.items()):
        n = x.size if size is None else size
        out += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        out += text("storage") + b"ctorch\nFloatStorage\n" + text(str(key)) + text("cpu") + b"J" + struct.pack("<i", n)
        out += (b"N" if view else b"") + b"tQJ\x00\x00\x00\x00" + numbers(*x.shape)
        out += numbers(*(s // x.itemsize for s in x.strides)) + b"\x89ccollections\nOrderedDict\n)RtRs"
    return out + b"."


def zipped(path: Path, made: dict[str, np.ndarray], pickle: bytes | None = None, **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("weights/data.pkl", pickle or pickled(made))
        for key, x in enumerate(made.values()):
            archive.writestr(f"weights/data/{key}", x.tobytes("A"))
    return path


def legacy(path: Path, made: dict[str, np.ndarray]) -> Path:
    """As PyTorch wrote before 1.6: the original authors' files."""
    number = b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."
    machine = b"\x80\x02}(" + text("protocol_version") + b"M\xe9\x03" + text("little_endian") + b"\x88u."
    keys = b"\x80\x02](" + b"".join(text(str(key)) for key in range(len(made))) + b"e."
    head = number + b"\x80\x02M" + struct.pack("<H", PROTOCOL) + b"." + machine + pickled(made, view=True) + keys
    path.write_bytes(head + b"".join(struct.pack("<q", x.size) + x.tobytes("A") for x in made.values()))
    return path


def same(found: Any, expected: Any) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def read(path: Path, **more: Any) -> dict[str, Any]:
    return pretrained.read(path, **({"settings": TINY, "words": WORDS, "pieces": PIECES} | more))


def test_a_folder_is_read_as_it_was_written_and_written_as_it_was_read(tmp_path: Path) -> None:
    pretrained.write(tmp_path / "a", params(), TINY, PIECES)
    found = read(tmp_path / "a")
    same(found, params())
    pretrained.write(tmp_path / "b", jax.tree.map(jnp.asarray, found), TINY, PIECES)
    for name in ("model.safetensors", "config.json", "vocab.txt"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert settings_of(json.loads((tmp_path / "a/config.json").read_text())) == TINY
    with pytest.raises(JaxtagError, match="exists already"):
        pretrained.write(tmp_path / "b", params(), TINY, PIECES)


@pytest.mark.parametrize("form", [zipped, legacy])
def test_what_pytorch_saves_is_read_without_it(form: Any, tmp_path: Path) -> None:
    """Under the original authors' names, with the pretraining heads beside it, and tensors that lie turned."""
    given = {f"module.bert.{name}": x for name, x in tensors().items()}
    name = "module.bert.encoder.layer.0.intermediate.dense.weight"
    given[name] = np.ascontiguousarray(given[name].T).T
    given["module.cls.predictions.bias"] = np.zeros(11, np.float32)
    file = form(tmp_path / "model_LXRT.pth", {n: x if n == name else np.ascontiguousarray(x) for n, x in given.items()})
    content = bytearray(file.read_bytes())
    same(read(file), params())
    os.truncate(file, len(content) - 40)
    with pytest.raises(JaxtagError, match="cannot be read as weights"):
        read(file)


def test_plain_bert_goes_into_the_language_encoder(tmp_path: Path) -> None:
    """Under older names, with a layer more than there is room for, and its own pooler and heads left alone."""
    plain = {n: x for n, x in tensors().items() if n.startswith(("embeddings.", "encoder.layer."))}
    more = {n.replace("layer.1", "layer.2"): x + 1 for n, x in plain.items() if "layer.1" in n}
    older = {f"bert.{n}".replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): x
             for n, x in (plain | more).items()}  # fmt: skip
    older |= {
        "bert.pooler.dense.weight": np.ones((8, 8), np.float32),
        "cls.seq_relationship.bias": np.ones(2, np.float32),
    }
    older["bert.embeddings.position_ids"] = np.ones(6, np.float32)
    zipped(tmp_path / "pytorch_model.bin", {n: np.ascontiguousarray(x) for n, x in older.items()})
    (tmp_path / "config.json").write_text(
        json.dumps({"hidden_size": 8, "num_attention_heads": 2, "hidden_act": "gelu"})
    )
    found = read(tmp_path, kind="bert")
    same(found, {name: params()[name] for name in ("text", "language")})
    whole = jax.tree.map(lambda x: jnp.zeros_like(x), params())
    both = pretrained.merged(whole, found)
    same(both, whole | found)
    assert both["text"]["words"].sharding == whole["text"]["words"].sharding
    with pytest.raises(JaxtagError, match="missing: encoder.visn_fc.visn_fc.weight, .* and 147 more"):
        read(tmp_path)
    assert without_prefix(["a", "b.c"]) == {}


def saved(path: Path, **changed: np.ndarray | None) -> Path:
    """A folder whose tensors are changed, or left out."""
    pretrained.write(path, params(), TINY, PIECES)
    made = {n: x for n, x in (tensors() | changed).items() if x is not None}
    stored = {n: Stored(x.shape, x.dtype, lambda x=x: x) for n, x in made.items()}
    write_safetensors(path / "model.safetensors", stored)
    return path


QUERY = "encoder.x_layers.1.visual_attention.att.query.weight"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({QUERY: None, "pooler.dense.bias": None}, f"LXMERT encoder; missing: {QUERY}, pooler.dense.bias; give"),
        ({QUERY: np.zeros((8, 4), np.float32)}, rf"of other shapes: {QUERY} \[8, 4\] for \[8, 8\]"),
        ({QUERY: np.zeros((8, 8), np.int32)}, f"no numbers: {QUERY}"),
        ({"encoder.layer.2.output.dense.bias": np.zeros(8, np.float32)}, "without a place: encoder.layer.2.output"),
        (
            {"embeddings.word_embeddings.weight": np.zeros((12, 8), np.float32)},
            "table of 12 rows, the .* 11 pieces; cut",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(changed: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(JaxtagError, match=said):
        read(saved(tmp_path / "m", **changed))


def test_other_sizes_or_another_vocabulary_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m")
    with pytest.raises(
        JaxtagError, match="num_attention_heads 2 where the model has 4; l_layers 2 where the model has 1"
    ):
        read(folder, settings=Settings(**(vars(TINY) | {"heads": 4, "language_layers": 1})))
    with pytest.raises(
        JaxtagError, match='vocab.txt line 6 is "w1", the WordPiece vocabulary has "W1" there; cut texts'
    ):
        read(folder, pieces=[*PIECES[:5], "W1", *PIECES[6:]])
    (folder / "config.json").write_text("[]")
    with pytest.raises(JaxtagError, match="config.json is a list"):
        read(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(JaxtagError, match="has no model.safetensors nor pytorch_model.bin"):
        read(folder)
    with pytest.raises(JaxtagError, match="no weights at"):
        read(tmp_path / "none")


def test_half_precision_is_widened(tmp_path: Path) -> None:
    half = {QUERY: tensors()[QUERY].astype(jnp.bfloat16), "pooler.dense.bias": np.arange(8, dtype=np.float16)}
    found = read(saved(tmp_path / "m", **half))
    np.testing.assert_array_equal(found["pooler"]["bias"], np.arange(8, dtype=np.float32))
    kernel = found["cross"]["layers"]["cross_attention"]["attention"]["query_kernel"][1]
    np.testing.assert_array_equal(kernel, half[QUERY].astype(np.float32).T)
    assert kernel.dtype == np.float32


ONE = {"a": np.arange(6, dtype=np.float32).reshape(2, 3)}
HOSTILE = {
    "a function": b"\x80\x02cos\nsystem\n" + text("touch pwned") + b"\x85R.",
    "a builtin": b"\x80\x02c__builtin__\neval\n" + text("1") + b"\x85R.",
    "by protocol 4": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + text("touch pwned") + b"\x85R.",
    "an object": b"\x80\x02ctorch\nFloatStorage\n)\x81.",
    "a call of a type": b"\x80\x02ctorch\nFloatStorage\n)R.",
    "no end": pickled(ONE)[:-1],
    "cut short": pickled(ONE)[:60],
    "an empty stack": b"\x80\x02t.",
    "a lie about size": pickled(ONE, size=600),
    "fewer numbers than it shows": pickled(ONE, size=4),
    "a negative size": pickled(ONE, size=-1),
    "no state dict": b"\x80\x02]K\x01a.",
    "no opcode": b"\x80\x02\xff.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_in_a_file_is_called(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JaxtagError, match=r"cannot be read as weights: .*; fetch it again"):
        open_weights(zipped(tmp_path / "x.bin", ONE, HOSTILE[name]))
    assert [p.name for p in tmp_path.iterdir()] == ["x.bin"]


def test_views_beyond_their_numbers_are_refused(tmp_path: Path) -> None:
    wide = np.lib.stride_tricks.as_strided(np.zeros(6, np.float32), (2, 3), (16, 4))
    with pytest.raises(JaxtagError, match=r"a \[2, 3\] does not lie within its numbers"):
        open_weights(zipped(tmp_path / "x.bin", ONE, pickled({"a": wide})))


def header(shape: str, kind: str = "F32", offsets: str = "[0,36]") -> bytes:
    text = f'{{"a":{{"dtype":"{kind}","shape":{shape},"data_offsets":{offsets}}}}}'.encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read"),
        (b"<html>not found</html>", "cannot be read"),
        (struct.pack("<Q", 1 << 40) + b"{}", "its header is to have"),
        (struct.pack("<Q", 2) + b"[]", "cannot be read"),
        (
            struct.pack("<Q", 60) + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}     ',
            r"a \[9\] does not lie",
        ),
        (
            struct.pack("<Q", 60) + b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[4,0]}}     ',
            r"a \[-1\] does not lie",
        ),
        (header("[9]"), r"a \[9\] does not lie"),
        (header("[-1]", offsets="[4,0]"), r"a \[-1\] does not lie"),
        (header("[1.5]", offsets="[0,6]"), "cannot be read"),
        (header("[]", "C64", "[0,0]"), "unknown type C64"),
    ],
)
def test_damaged_files_are_refused(content: bytes, said: str, tmp_path: Path) -> None:
    for name in ("x.safetensors", "x.pth") if b'"a"' not in content else ("x.safetensors",):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(JaxtagError, match=said if name == "x.safetensors" else "cannot be read"):
            open_weights(tmp_path / name)


def test_archives_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(JaxtagError, match="is compressed"):
        open_weights(zipped(tmp_path / "x.bin", ONE, compression=zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(tmp_path / "y.bin", "w") as archive:
        archive.writestr("a/b", b"")
    with pytest.raises(JaxtagError, match="an archive without weights"):
        open_weights(tmp_path / "y.bin")
    file = zipped(tmp_path / "z.bin", ONE)
    content = bytearray(file.read_bytes())
    content[content.index(ONE["a"].tobytes()) + 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(JaxtagError, match="Bad CRC"):
        open_weights(file)["a"].read()


def test_every_parameter_has_a_place() -> None:
    covered: dict[tuple[str, ...], set[int]] = {}
    for place in lxmert(TINY).values():
        assert place.layer not in covered.setdefault(place.path, set())
        covered[place.path].add(place.layer)
    leaves = jax.tree_util.tree_leaves_with_path(pretrained.shapes(TINY, WORDS))
    assert {tuple(k.key for k in path) for path, _ in leaves} == set(covered)
    assert set(config_of(TINY, 11)) >= {"model_type", "vocab_size", "l_layers", "hidden_act"}
