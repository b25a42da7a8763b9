"""Published weights into LXMERT's encoder, and out of it: Hugging Face's folders, and the original authors' files."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxtag.errors import JaxtagError
from jaxtag.files import new_folder, read_json, write_json
from jaxtag.models import lxmert_weights
from jaxtag.models.lxmert import Encoder, Settings
from jaxtag.models.lxmert_weights import Place
from jaxtag.parallel.mesh import put, unbox
from jaxtag.training.weight_files import Stored, open_weights, weights_at, write_safetensors

Tree = dict[str, Any]
NAMED = 20  # names that a message lists
VOCABULARY = "vocab.txt"


def shapes(settings: Settings, words: int) -> Tree:
    """The encoder's parameters, with `words` rows in the word table, as `jax.ShapeDtypeStruct`; nothing is computed."""
    s = settings
    batch = {
        "wordpieces": jnp.zeros((1, 1), jnp.int32),
        "regions": jnp.zeros((1, 1, s.features)),
        "boxes": jnp.zeros((1, 1, 4)),
        "cells": jnp.zeros(1, jnp.int32),
    }

    def init() -> Any:
        return Encoder(s, words).init(jax.random.key(0), batch, 0.0, None, method=_all)

    return unbox(jax.eval_shape(init))["params"]


def _all(encoder: Encoder, *arguments: Any) -> Any:
    language, vision = encoder(*arguments)
    return encoder.pool(language[:, 0]), vision


def read(
    path: Path, settings: Settings, words: int, pieces: Iterable[str], kind: Literal["lxmert", "bert"] = "lxmert"
) -> Tree:
    """The encoder's parameters from a checkpoint, float32 on the host.

    Args:
      path: a Hugging Face folder (config.json; model.safetensors or pytorch_model.bin), or a file: .safetensors, or
        what PyTorch saved, such as the original authors' .pth. Nothing is unpickled.
      settings: of the model that the parameters are for.
      words: rows of its word table, at least as many as the vocabulary has; rows that no piece has are zeros.
      pieces: the WordPiece vocabulary that texts were cut with, in order.
      kind: `lxmert`: all of the encoder. `bert`: a plain BERT, for the language encoder alone: its tables and as many
        of its first layers as there are; the tree then has `text` and `language` and nothing else.

    Raises:
      JaxtagError: the files cannot be read; a tensor is missing, has another shape or has no place in the model; sizes
        or the vocabulary are others.
    """
    bert, file = kind == "bert", weights_at(path)
    _check_config(path, settings, bert)
    stored = open_weights(file)
    places = lxmert_weights.language(settings) if bert else lxmert_weights.lxmert(settings)
    found = lxmert_weights.without_prefix(stored)
    tensors = {plain: stored[name] for plain, name in found.items()}
    wanted = _leaves(shapes(settings, words))
    _check_vocabulary(path, tensors, list(pieces), words)
    _check_fit(file, tensors, places, wanted, bert)
    leaves: dict[lxmert_weights.Path, np.ndarray] = {}
    for name, place in places.items():
        value = tensors[name].read().astype(np.float32)
        value = value.T if place.turned else value
        if place.path not in leaves:
            leaves[place.path] = np.zeros(wanted[place.path].shape, np.float32)
        if place.layer >= 0:
            leaves[place.path][place.layer] = value
        else:
            leaves[place.path][: len(value)] = value
    return _tree(leaves)


def merged(params: Tree, found: Tree) -> Tree:
    """`params` with the leaves of `found` in place of theirs, each where and of what type the old one was."""
    out = dict(params)
    for name, value in found.items():
        old = params[name]
        if isinstance(value, Mapping):
            out[name] = merged(old, dict(value))
        else:
            out[name] = put(value.astype(old.dtype), old.sharding) if hasattr(old, "sharding") else value
    return out


def write(folder: Path, params: Tree, settings: Settings, pieces: Iterable[str]) -> None:
    """Save an encoder's parameters as Hugging Face's `LxmertModel` loads them: safetensors, config.json and vocab.txt.

    Args:
      folder: to make.
      params: of the encoder; rows of the word table past the vocabulary are left out.
      settings: of it.
      pieces: its WordPiece vocabulary, in order.

    Raises:
      JaxtagError: there is something at `folder` already.
    """
    if folder.exists():
        raise JaxtagError(f"{folder} exists already", "name a folder that does not")
    entries = list(pieces)
    with new_folder(folder) as side:
        write_safetensors(side / "model.safetensors", tensors_of(params, settings, len(entries)))
        write_json(side / "config.json", lxmert_weights.config_of(settings, len(entries)))
        (side / VOCABULARY).write_text("".join(f"{piece}\n" for piece in entries), encoding="utf-8")


def tensors_of(params: Tree, settings: Settings, pieces: int) -> dict[str, Stored]:
    """An encoder's parameters, or anything of their shapes, as the tensors of a checkpoint for `pieces` pieces."""
    leaves = _leaves(params)
    return {
        name: _stored(leaves[place.path], place, pieces if place.path == lxmert_weights.WORDS else None)
        for name, place in lxmert_weights.lxmert(settings).items()
    }


def _stored(leaf: Any, place: Place, rows: int | None) -> Stored:
    """A parameter, or its layer, as the tensor that a file has of it."""
    shape = leaf.shape[1:] if place.layer >= 0 else leaf.shape
    shape = shape[::-1] if place.turned else (shape[0] if rows is None else rows, *shape[1:])

    def read() -> np.ndarray:
        value = np.asarray(leaf if place.layer < 0 else leaf[place.layer], np.float32)
        return value.T if place.turned else value[:rows]

    return Stored(tuple(shape), np.dtype(np.float32), read)


def _check_config(path: Path, settings: Settings, bert: bool) -> None:
    file = (path if path.is_dir() else path.parent) / "config.json"
    if not file.is_file():  # as beside the original authors' file; shapes tell everything but the number of heads
        return
    config = read_json(file, "configuration of a model")
    if not isinstance(config, dict):
        raise JaxtagError(f"{file} is a {type(config).__name__}, no configuration of a model")
    said = lxmert_weights.disagreements(config, settings, bert)
    if said:
        raise JaxtagError(f"{file} is of a model of other sizes: {'; '.join(said)}", "change model.* to its sizes")


def _check_vocabulary(path: Path, tensors: Mapping[str, Stored], pieces: list[str], words: int) -> None:
    """Hold the vocabulary against the word table, and against the checkpoint's own where there is one."""
    table = tensors.get("embeddings.word_embeddings.weight")
    mend = f"cut texts with the checkpoint's own: jaxtag-prep wordpieces --data DIR --vocabulary {path}"
    if table is not None and table.shape[:1] != (len(pieces),):
        raise JaxtagError(
            f"{path} has a word table of {table.shape[0] if table.shape else 0:,} rows, the WordPiece vocabulary "
            f"{len(pieces):,} pieces",
            mend,
        )
    if len(pieces) > words:
        raise ValueError(f"{len(pieces)} pieces, a word table of {words} rows")
    own = (path if path.is_dir() else path.parent) / VOCABULARY
    if not own.is_file():
        return
    theirs = own.read_text(encoding="utf-8", errors="replace").removesuffix("\n").split("\n")
    for line, (ours, other) in enumerate(zip(pieces, theirs), 1):
        if ours != other.rstrip("\r"):
            said = f"{own} line {line} is {json.dumps(other[:80])}, the WordPiece vocabulary has {json.dumps(ours)}"
            raise JaxtagError(f"{said} there", mend)


def _check_fit(
    file: Path, tensors: Mapping[str, Stored], places: Mapping[str, Place], wanted: Mapping[Any, Any], bert: bool
) -> None:
    """Refuse a checkpoint that does not have just what the model needs, with the names."""

    def due(name: str) -> tuple[int, ...]:
        place = places[name]
        shape = wanted[place.path].shape[1 if place.layer >= 0 else 0 :]
        rows = tensors[name].shape[:1] if place.path == lxmert_weights.WORDS else shape[:1]  # checked before
        return shape[::-1] if place.turned else (*rows, *shape[1:])

    there = [name for name in places if name in tensors]
    faults = {
        "missing": [name for name in places if name not in tensors],
        "of other shapes": [
            f"{name} {list(tensors[name].shape)} for {list(due(name))}"
            for name in there
            if tensors[name].shape != due(name)
        ],
        "no numbers": [name for name in there if not jnp.issubdtype(tensors[name].dtype, jnp.floating)],
        "without a place": [] if bert else [n for n in tensors if n not in places and not n.endswith("position_ids")],
    }
    said = [f"{fault}: {_listed(names)}" for fault, names in faults.items() if names]
    if said:
        what = "plain BERT" if bert else "LXMERT encoder"
        raise JaxtagError(f"{file} does not fit this {what}; {'; '.join(said)}", "give a whole checkpoint of its sizes")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _leaves(tree: Mapping[str, Any], path: lxmert_weights.Path = ()) -> dict[lxmert_weights.Path, Any]:
    found: dict[lxmert_weights.Path, Any] = {}
    for name, value in tree.items():
        found |= _leaves(value, (*path, name)) if isinstance(value, Mapping) else {(*path, name): value}
    return found


def _tree(leaves: Mapping[lxmert_weights.Path, Any]) -> Tree:
    tree: Tree = {}
    for path, leaf in leaves.items():
        inner = tree
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = leaf
    return tree
