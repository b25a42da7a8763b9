"""Regions of images from files of every kind: decoded exactly, bad rows named, the same bytes after a stop."""

import base64
import json
import pickletools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtag_prep import feature_store, region_features, region_rows
from jaxtag_prep.cli import main
from jaxtag_prep.region_features import Wanted

from jaxtag.data import images, show
from jaxtag.data.dataset import open_dataset
from jaxtag.errors import JaxtagError
from tests import photos, prep

COUNT, REGIONS, WIDTH = 12, 4, 6
SIZE = (40, 80)  # height and width of an image, in pixels
SIZES = ["--regions", str(REGIONS), "--width", str(WIDTH)]


def made(folder: Path, names: list[str]) -> Path:
    """A dataset of posts that name images."""
    rows = [{"text": f"words of post {i} #one #two", "photo": name} for i, name in enumerate(names)]
    file = photos.posts(folder / "posts.jsonl", rows)
    command = ["posts", "--input", str(file), "--text", "text", "--image", "photo", "--images", "none"]
    assert (
        main(
            [*command, "--min-words", "1", "--min-hashtag-posts", "1", "--workers", "1", "--out", str(folder / "data")]
        )
        == 0
    )
    return folder / "data"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("regions"), [f"photos/p{i}.jpg" for i in range(COUNT)])


@pytest.fixture
def data(kept: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kept, tmp_path / "data")


def found(image: int) -> tuple[np.ndarray, np.ndarray]:
    """Features, and boxes in pixels, of image `image`, which has 1 to 4 regions."""
    rng = np.random.default_rng(image)
    many = 1 + image % REGIONS
    corners = np.sort(rng.random((many, 2, 2)), 1) * SIZE[::-1]
    return rng.random((many, WIDTH), np.float32) * 9, corners.reshape(many, 4).astype(np.float32)


def encoded(*arrays: np.ndarray) -> list[str]:
    return [base64.b64encode(np.ascontiguousarray(x, "<f4").tobytes()).decode() for x in arrays]


def line(name: str, features: np.ndarray, boxes: np.ndarray, six: bool = False, count: int | None = None) -> str:
    many = str(len(features) if count is None else count)
    height, width = map(str, SIZE)
    if six:
        return "\t".join([name, width, height, many, *encoded(boxes, features)])
    return "\t".join([name, height, width, "ids", "conf", "ids", "conf", many, *encoded(boxes, features)])


def expected() -> dict[str, np.ndarray]:
    """What is to be stored of `found`."""
    arrays = {
        "features": np.zeros((COUNT, REGIONS, WIDTH), np.float16),
        "boxes": np.zeros((COUNT, REGIONS, 4), np.float32),
        "count": np.zeros(COUNT, np.int32),
    }
    for i in range(COUNT):
        features, boxes = found(i)
        arrays["features"][i, : len(features)] = features
        arrays["boxes"][i, : len(boxes)] = boxes / np.float32([SIZE[1], SIZE[0], SIZE[1], SIZE[0]])
        arrays["count"][i] = len(features)
    return arrays


def taken(data: Path, source: Path, *more: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    command = ["regions", "--data", str(data), "--input", str(source), *SIZES, "--workers", "1", "--json", *more]
    assert main(command) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def stored(data: Path, name: str = "regions") -> dict[str, np.ndarray]:
    return {kind: np.load(data / "images" / name / f"{kind}.npy") for kind in ("features", "boxes", "count")}


def tsv(folder: Path, six: bool = False) -> Path:
    lines = [line(f"p{i}", *found(i), six) for i in range(COUNT)]
    (folder / "some.tsv").write_text("\n".join([*lines[::-1], line("stranger", *found(0), six)]) + "\n")
    return folder / "some.tsv"


def archives(folder: Path) -> Path:
    (folder / "npz").mkdir()
    for i in range(COUNT):
        features, boxes = found(i)
        values = {"x": features.T, "bbox": boxes, "image_h": SIZE[0], "image_w": SIZE[1]}
        np.savez(folder / "npz" / f"p{i}.npz", **values, num_bbox=len(boxes))
    return folder / "npz"


def arrays(folder: Path) -> Path:
    (folder / "npy").mkdir()
    for i in range(COUNT):
        features, boxes = found(i)
        np.save(folder / "npy" / f"p{i}.npy", features)
        np.save(folder / "npy" / f"p{i}_boxes.npy", boxes / [SIZE[1], SIZE[0], SIZE[1], SIZE[0]])  # as shares
    return folder / "npy"


def together() -> dict[str, np.ndarray]:
    e = expected()
    return {"image_id": np.array([f"p{i}" for i in range(COUNT)]), "regions": e["features"].astype(np.float32)} | {
        "boxes": e["boxes"], "num_boxes": e["count"]
    }  # fmt: skip


def archive(folder: Path) -> Path:
    np.savez(folder / "all.npz", **together())
    return folder / "all.npz"


def hdf5(folder: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "all.h5", "w") as file:
        for key, value in together().items():
            file[key] = value.astype("S") if value.dtype.kind == "U" else value
    return folder / "all.h5"


def hdf5_groups(folder: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "groups.h5", "w") as file:
        for i in range(COUNT):
            features, boxes = found(i)
            for key, value in {"features": features, "boxes": boxes, "img_h": SIZE[0], "img_w": SIZE[1]}.items():
                file[f"p{i}/{key}"] = value
    return folder / "groups.h5"


def pickled(value: dict[str, Any]) -> bytes:
    """A dictionary of text, bytes and numbers as protocol 3 pickles it, put together by its opcodes."""
    code = {opcode.name: opcode.code.encode("latin-1") for opcode in pickletools.opcodes}

    def one(x: Any) -> bytes:
        if isinstance(x, int):
            return code["BININT"] + x.to_bytes(4, "little")
        kind, text = ("BINBYTES", x) if isinstance(x, bytes) else ("BINUNICODE", x.encode())
        return code[kind] + len(text).to_bytes(4, "little") + text

    pairs = b"".join(one(x) for pair in value.items() for x in pair)
    return code["PROTO"] + b"\3" + code["EMPTY_DICT"] + code["MARK"] + pairs + code["SETITEMS"] + code["STOP"]


def lmdb_store(folder: Path) -> Path:
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(folder / "store"), map_size=1 << 22) as store, store.begin(write=True) as writing:
        for i in range(COUNT):
            features, boxes = found(i)
            if i % 2:
                shown, where = (text.encode() for text in encoded(features, boxes))
                value = {"image_id": f"p{i}", "image_h": SIZE[0], "image_w": SIZE[1], "num_boxes": len(boxes)}
                writing.put(b"%d" % i, pickled(value | {"boxes": where, "features": shown}))
            else:
                writing.put(b"p%d" % i, line(f"p{i}", features, boxes).encode())
        writing.put(b"keys", b"a list of the others")
    return folder / "store"


WAYS: dict[str, Callable[[Path], Path]] = {
    "ten columns": tsv,
    "six columns": lambda folder: tsv(folder, True),
    "archives": archives,
    "arrays": arrays,
    "one archive": archive,
    "hdf5": hdf5,
    "hdf5 groups": hdf5_groups,
    "lmdb": lmdb_store,
}


@pytest.mark.parametrize("way", WAYS)
def test_every_kind_of_file_gives_the_same(
    data: Path, tmp_path: Path, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = taken(data, WAYS[way](tmp_path), capsys=capsys)
    assert (said["present"], said["without"], said["bad_rows"]) == (COUNT, 0, 0)
    assert said["not_in_dataset"] == ("columns" in way)
    wanted, got = expected(), stored(data)
    np.testing.assert_array_equal(got["features"], wanted["features"])
    np.testing.assert_array_equal(got["count"], wanted["count"])
    np.testing.assert_allclose(got["boxes"], wanted["boxes"], rtol=1e-6)
    features = images.open_features(open_dataset(data), "regions")
    assert features.array("regions").shape == (COUNT, REGIONS, WIDTH) and features.present.all()
    assert show.shapes_text({"regions": (REGIONS, WIDTH), "boxes": (REGIONS, 4), "count": ()}) == "up to 4 regions of 6"
    shown = images.describe(open_dataset(data))["extractors"]
    assert [row["shapes"] for row in shown] == [{"regions": [REGIONS, WIDTH], "boxes": [REGIONS, 4], "count": []}]


def bad_rows() -> list[tuple[str, str]]:
    """Lines that cannot be used, and what is said of them."""
    features, boxes = found(3)
    broken = line("p0", features, boxes)
    no_number, outside, inverted, nowhere = features.copy(), boxes.copy(), boxes.copy(), boxes.copy()
    no_number[1, 2], outside[0, 2], inverted[0, [0, 2]], nowhere[0, 0] = np.nan, 81, (50, 10), np.inf
    many = np.resize(features, (REGIONS + 1, WIDTH)), np.resize(boxes, (REGIONS + 1, 4))
    return [
        (broken[:-9] + "!" + broken[-8:], "no base64"),
        (line("p0", features[:, :5], boxes), "not the"),
        (line("p0", features, boxes[:2]), "boxes of 32 bytes, not the 64 of 4 x 4 numbers"),
        (line("p0", no_number, boxes), "features that are no numbers"),
        (line("p0", features, nowhere), "boxes that are no numbers"),
        (line("p0", features, outside), "a box outside the image"),
        (line("p0", features, inverted), "right or lower edge"),
        (line("p0", features[:0], boxes[:0]), "no regions"),
        (line("p0", *many), f"{REGIONS + 1} regions, not 1 to {REGIONS}"),
        (line("p0", features, boxes).replace("\t80\t", "\t0\t"), "0 x 40 pixels"),
        (line("p0", features, boxes).replace("\t80\t", "\t-80\t"), "a width of '-80'"),
        ("p0\t40\t80", "3 columns, not 10 or 6"),
        (line(" ", features, boxes), "no name of an image"),
    ]


def test_bad_rows_are_named_and_good_ones_kept(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = bad_rows()
    good = [line(f"p{i}", *found(i)) for i in range(1, COUNT)]
    again = line("p5", *found(6))
    (tmp_path / "bad.tsv").write_text("\n".join([*(row for row, _ in bad), *good, again]) + "\n")
    said = taken(data, tmp_path / "bad.tsv", "--max-bad", "0.1", capsys=capsys)
    assert (said["present"], said["without"], said["bad_rows"]) == (COUNT - 1, 1, len(bad) + 1)
    rejects = [json.loads(row) for row in (data / "images/regions/rejects.jsonl").read_text().splitlines()]
    assert [row["row"] for row in rejects] == [*range(1, len(bad) + 1), len(bad) + COUNT]
    for row, (_, reason) in zip(rejects, [*bad, ("", "a second row of image 'p5'")], strict=True):
        assert reason in row["reason"] and row["file"] == "bad.tsv"
    without = json.loads((data / "images/regions/unreadable.jsonl").read_text())
    assert without["image"] == "photos/p0.jpg" and "bad.tsv row 1" in without["reason"]
    wanted, got = expected(), stored(data)
    for kind in got:
        np.testing.assert_allclose(got[kind][1:], wanted[kind][1:], rtol=1e-6)
        assert not got[kind][0].any()


def test_a_killed_run_ends_with_the_same_bytes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(region_features, "BLOCK", 3)
    lines = [line(f"p{i}", *found(i)) for i in range(COUNT)] + [bad_rows()[0][0], line("p2", *found(3))]
    (tmp_path / "some.tsv").write_text("\n".join(lines) + "\n")
    wanted = Wanted(tmp_path / "some.tsv", REGIONS, WIDTH)
    whole = region_features.make(data, wanted)
    before = prep.tree(data / "images/regions")
    shutil.rmtree(data / "images/regions")
    mark = feature_store.mark

    def stop(side: Path, block: int, written: Any) -> None:
        mark(side, block, written) if block < 2 else pytest.fail("stopped", pytrace=False)

    monkeypatch.setattr(feature_store, "mark", stop)
    with pytest.raises(pytest.fail.Exception):
        region_features.make(data, wanted)
    monkeypatch.setattr(feature_store, "mark", mark)
    decoded: list[str] = []
    read = region_features._decode
    monkeypatch.setattr(
        region_features, "_decode", lambda w, f, item, row: (decoded.append(item.image), read(w, f, item, row))[1]
    )
    again = region_features.make(data, wanted)
    assert prep.tree(data / "images/regions") == before and decoded[0] == "p6"
    assert {k: v for k, v in again.items() if k != "images_per_second"} == {
        k: v for k, v in whole.items() if k != "images_per_second"
    }
    assert region_features.make(data, wanted)["fingerprint"] == whole["fingerprint"]  # nothing to do


def test_what_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "others.tsv").write_text(line("other", *found(0)) + "\n")
    (tmp_path / "text.tsv").write_text("hello\n")
    np.savez(tmp_path / "lacking.npz", regions=np.ones((2, 3, WIDTH)))
    (tmp_path / "damaged.npz").write_bytes(b"PK damaged")
    (tmp_path / "empty").mkdir()
    said = {
        "others.tsv": "none of the 1 rows",
        "text.tsv": "none of the 1 rows",
        "lacking.npz": r"has no boxes \[images, regions, 4\]",
        "damaged.npz": "no readable .npz",
        "empty": "holds no .npz",
        "missing.tsv": "no file or folder",
    }
    for name, message in said.items():
        with pytest.raises(JaxtagError, match=message):
            region_features.make(data, Wanted(tmp_path / name, REGIONS, WIDTH))
    with pytest.raises(JaxtagError, match="more than --max-bad 0.01"):
        (tmp_path / "one.tsv").write_text(line("p1", *found(1)) + "\n")
        region_features.make(data, Wanted(tmp_path / "one.tsv", REGIONS, WIDTH))


def test_names_of_coco(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["val/COCO_val2014_000000000042.jpg", "000000000007.jpg", "img8.jpg"]
    data = made(tmp_path, names)
    lines = [line(name, *found(i)) for i, name in enumerate(["42", "COCO_train2014_000000000007", "000000000008"])]
    (tmp_path / "coco.tsv").write_text("\n".join(lines) + "\n")
    said = taken(data, tmp_path / "coco.tsv", "--max-bad", "1", capsys=capsys)
    assert stored(data)["count"].tolist() == [1, 2, 0] and said["not_in_dataset"] == 1


def test_a_pickle_runs_nothing() -> None:
    with pytest.raises(region_rows.BadRow, match="names posix.system"):
        region_rows.of_bytes(b"\x80\x02cposix\nsystem\nU\x04trueR.", "f", 1, "k", WIDTH)


@pytest.mark.realdata
def test_regions_of_coco_decode_exactly(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = shared_data / "regions" / "coco10_obj36.tsv"
    if not source.is_file():
        pytest.skip("no regions/coco10_obj36.tsv in the shared data")
    rows = [row.split("\t") for row in source.read_text().splitlines()]
    assert len(rows) == 10 and {len(row) for row in rows} == {10} and {row[7] for row in rows} == {"36"}
    data = made(tmp_path, [f"{row[0]}.jpg" for row in rows])
    capsys.readouterr()
    assert main(["regions", "--data", str(data), "--input", str(source), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["present"], said["bad_rows"], said["not_in_dataset"]) == (10, 0, 0)
    got = stored(data)
    assert got["features"].shape == (10, 36, 2048) and (got["count"] == 36).all()
    for row, features, boxes in zip(rows, got["features"], got["boxes"]):
        decoded = np.frombuffer(base64.b64decode(row[9]), np.float32).reshape(36, 2048)
        np.testing.assert_array_equal(features, decoded.astype(np.float16))
        height, width = int(row[1]), int(row[2])
        pixels = np.frombuffer(base64.b64decode(row[8]), np.float32).reshape(36, 4)
        np.testing.assert_allclose(boxes, pixels / np.float32([width, height, width, height]), atol=1e-6)
        assert (boxes[:, 2:] > boxes[:, :2]).all() and boxes.min() >= 0 and boxes.max() <= 1
