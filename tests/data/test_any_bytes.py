"""Whatever lies in a file from outside: it is read, or the error is one of this package; nothing else comes."""

import io
import json
import os
import struct
import tarfile
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paretina.data import index_cache, look_cache, packed
from paretina.data.decode import CodedLevels, DecodeError, decode
from paretina.data.levels import Window, copies_for, halvings_for
from paretina.data.pictures import read_pictures
from paretina.data.sources.arrays import Arrays
from paretina.data.sources.folder import Folder
from paretina.data.sources.idx import Idx
from paretina.data.sources.shards import Shards
from paretina.data.sources.table import Table
from paretina.model.blueprint import Model
from paretina.model.weights import About, load_model, save_model
from paretina.run import Run
from paretina.spec import decode as read_spec
from paretina.spec import encode
from paretina.train.checkpoint import load_state, save_state
from paretina.train.recipe import Recipe
from tiny import tiny_blueprint

MANY = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
FEW = settings(MANY, max_examples=60, suppress_health_check=[*HealthCheck])


@cache
def originals():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        return __import__("damaged").originals()


def edited(data, edits):
    """A file after changes, each by place (a share of its length), kind and bytes."""
    for share, kind, some in edits:
        at = int(share * len(data))
        if kind == "set":
            data = data[:at] + some + data[at + len(some) :]
        elif kind == "insert":
            data = data[:at] + some + data[at:]
        elif kind == "cut":
            data = data[:at] + data[at + 7 * len(some) :]
        elif kind == "repeat":
            data = data[: at + len(some)] + data[at : at + len(some)] * 3 + data[at + len(some) :]
        else:
            data = data[:at]
    return data


EDITS = st.lists(
    st.tuples(
        st.one_of(st.floats(0, 0.999), st.floats(0, 0.05)),
        st.sampled_from(["set", "set", "set", "insert", "cut", "repeat", "end"]),
        st.one_of(
            st.binary(min_size=1, max_size=8),
            st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"]),
        ),
    ),
    min_size=1,
    max_size=4,
)


def said(kind, call):
    """What a call gives, and "" or the text of its error of that kind; any other error goes on."""
    try:
        return call(), ""
    except kind as error:
        text = str(error)
    assert text.strip()
    return None, text


def every_copy(data, at_least):
    levels = CodedLevels(data, "a/b", at_least)
    return levels.level(copies_for(levels.height, levels.width, 8))


def read_or_named(data, at_least=None, crop=None):
    """Decodes in both ways, and checks what comes."""
    image, why = said(DecodeError, lambda: decode(data, "a/b", at_least))
    _, too = said(DecodeError, lambda: every_copy(data, at_least))
    assert bool(why) == bool(too)
    if why:
        assert why.startswith("a/b: ")
        assert too.startswith("a/b: ")
        return
    assert image.dtype == torch.uint8
    assert image.ndim == 3
    assert image.shape[0] == 3
    levels = CodedLevels(data, "a/b", at_least)
    assert (3, levels.height, levels.width) == image.shape
    if crop is None:
        return
    top, left, rows, columns, side = crop
    begin = int(top * (levels.height - 1)), int(left * (levels.width - 1))
    window = Window(*begin, 1 + int(rows * (levels.height - 1 - begin[0])), 1 + int(columns * (levels.width - 1 - begin[1])))
    halvings = min(halvings_for(window.shorter, side, 1.125), copies_for(levels.height, levels.width, 8))
    copy = levels.level(halvings)
    part = window.halved(halvings, *copy.shape[1:]).of(copy)
    assert part.dtype == torch.uint8
    assert part.shape[0] == 3
    assert min(part.shape) >= 1


BEGINNINGS = [
    b"",
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"RIFF\0\0\0\0WEBP",
    b"P6 ",
    b"P3 ",
]
BEGINNINGS += [b"\0\0\1\0", b"\0\0\0\x18ftypheic", b"\0\0\0\x18ftypavif", b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"]
BEGINNINGS += [b"\n\5\1\x08", b"\x28\0\0\0"]


@MANY
@given(st.builds(bytes.__add__, st.sampled_from(BEGINNINGS), st.binary(max_size=250)))
def test_any_bytes_are_a_picture_or_named(data):
    read_or_named(data)


@MANY
@given(st.integers(0, 10**6), EDITS, st.sampled_from([None, 16, 40, 1000]))
def test_any_damage_gives_a_picture_or_a_name(number, edits, at_least):
    read_or_named(edited(originals()[number % len(originals())].data, edits), at_least)


SHARE = st.floats(0, 1)


@FEW
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from(["JPEG", "PNG", "WEBP"]),
    st.integers(1, 8),
    st.one_of(st.none(), st.integers(1, 400)),
    st.tuples(SHARE, SHARE, SHARE, SHARE, st.integers(8, 200)),
)
def test_any_crop_at_any_scale_of_any_size_has_pixels(rows, columns, kind, turned, at_least, crop):
    exif = PIL.Image.Exif()
    exif[0x0112] = turned
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (rows, columns, 3), np.uint8)
    PIL.Image.fromarray(pixels).save(file, kind, **({} if turned == 1 else {"exif": exif}))
    read_or_named(file.getvalue(), at_least, crop)


# --- other inputs -----------------------------------------------------------------------------------------------------


def opens_or_says(source, read=True):
    """Opens a source and reads its pictures, or says why not."""
    found, _ = said(ValueError, source.open)
    for samples in found.splits.values() if found is not None and read else ():
        for sample in samples[:5]:
            image, why = said(DecodeError, lambda: found.image(sample))  # noqa: B023
            assert why.startswith(f"{sample.name}: ") if why else image.dtype == torch.uint8


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("inputs")


def idx(values):
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@FEW
@given(edits=EDITS, which=st.sampled_from(["images-idx3", "labels-idx1"]), packed_up=st.booleans())
def test_idx_files(place, edits, which, packed_up):
    import gzip

    folder = place / "idx"
    folder.mkdir(exist_ok=True)
    for name, values in {
        "images-idx3": np.random.default_rng(0).integers(0, 256, (20, 5, 4), np.uint8),
        "labels-idx1": (np.arange(20) % 3).astype(np.uint8),
    }.items():
        data = idx(values)
        data = gzip.compress(data) if packed_up else data
        data = edited(data, edits) if name == which else data
        (folder / f"train-{name}-ubyte").unlink(missing_ok=True)
        (folder / f"train-{name}-ubyte.gz").unlink(missing_ok=True)
        (folder / f"train-{name}-ubyte{'.gz' if packed_up else ''}").write_bytes(data)
    opens_or_says(Idx(path=str(folder), copies="anywhere"))


@cache
def archive():
    file, picture = io.BytesIO(), io.BytesIO()
    PIL.Image.new("RGB", (6, 5)).save(picture, "PNG")
    with tarfile.open(fileobj=file, mode="w") as made:
        for number in range(6):
            label = json.dumps({"label": number % 2}).encode()
            for ending, data in (("png", picture.getvalue()), *((("json", label),) if number else (("cls", b"0"),))):
                member = tarfile.TarInfo(f"{number:04d}.{ending}")
                member.size = len(data)
                made.addfile(member, io.BytesIO(data))
    return file.getvalue()


@FEW
@given(edits=EDITS)
def test_tar_shards(place, edits):
    (place / "all.tar").write_bytes(edited(archive(), edits))
    opens_or_says(Shards(path=str(place / "all.tar"), copies="anywhere"))


@cache
def tables():
    import pyarrow
    import pyarrow.parquet

    rows = {
        "path": [f"{n}.png" for n in range(12)],
        "label": ["a", "b", "c"] * 4,
        "weight": [1.0, 2.0, 0.5] * 4,
        "group": ["x", "y"] * 6,
    }
    file = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(rows), file)
    lines = [",".join(rows), *(",".join(map(str, row)) for row in zip(*rows.values(), strict=True))]
    return {"csv": "\n".join(lines).encode(), "parquet": file.getvalue().to_pybytes()}


@FEW
@given(edits=EDITS, ending=st.sampled_from(["csv", "tsv", "parquet"]))
def test_tables(place, edits, ending):
    data = tables().get(ending) or tables()["csv"].replace(b",", b"\t")
    (place / f"table.{ending}").write_bytes(edited(data, edits))
    opens_or_says(Table(path=str(place / f"table.{ending}"), copies="anywhere", check_files=False), read=False)


@FEW
@given(edits=EDITS)
def test_arrays(place, edits):
    file = io.BytesIO()
    images = np.random.default_rng(0).integers(0, 256, (20, 5, 4), np.uint8)
    np.savez(file, images=images, labels=np.arange(20) % 3, split=["train"] * 12 + ["val"] * 8)
    (place / "arrays.npz").write_bytes(edited(file.getvalue(), edits))
    opens_or_says(Arrays(path=str(place / "arrays.npz"), copies="anywhere"))


def archived(**fields):
    """An .npz whose first member has other fields in both of its headers: what zipfile has its own errors for."""
    file = io.BytesIO()
    np.savez_compressed(file, images=np.zeros((4, 5, 4), np.uint8), labels=np.arange(4) % 2)
    data = bytearray(file.getvalue())
    for mark, places in ((b"PK\3\4", {"flags": 6, "method": 8}), (b"PK\1\2", {"flags": 8, "method": 10})):
        at = data.find(mark)
        for field, value in fields.items():
            struct.pack_into("<H", data, at + places[field], value)
    return bytes(data)


def huge():
    """An .npz whose array claims more than there is memory in the world."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000, 1000000000), }".ljust(117) + b"\n"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("images.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header)
        made.writestr("labels.npy", b"")
    return file.getvalue()


@pytest.mark.parametrize("data", [archived(flags=1), archived(method=99), huge()], ids=["locked", "method", "huge"])
def test_archives_of_arrays_that_no_damage_by_chance_makes(place, data):
    (place / "odd.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"odd\.npz' is not a usable \.npz file: "):
        Arrays(path=str(place / "odd.npz")).open()
    source = place / "source.txt"
    source.write_text("a")
    cached = index_cache.IndexCache("tests", [source])
    cached.path.parent.mkdir(parents=True, exist_ok=True)
    cached.path.write_bytes(data)
    assert cached.read() is None
    assert packed.read_index(cached.path) == ("", {})


# --- caches: a damaged one is as none -------------------------------------------------------------------------------------


@FEW
@given(edits=EDITS)
def test_an_index_in_the_cache(place, edits):
    source = place / "source.txt"
    if not source.exists():
        source.write_text("a")
    cached = index_cache.IndexCache("tests", [source])
    cached.keep({"names": index_cache.packed(["a", "b"]), "numbers": np.arange(2)})
    whole = cached.path.read_bytes()
    cached.path.write_bytes(edited(whole, edits))
    found = index_cache.IndexCache("tests", [source]).read()
    assert found is None or found.keys() == {"names", "numbers"}


@cache
def photos(folder):
    for number in range(6):
        (folder / "photos" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(folder / "photos" / "ab"[number % 2] / f"{number}.png")
    return Folder(path=str(folder / "photos"), val_share=0, copies="anywhere").open()


@FEW
@given(edits=EDITS, which=st.sampled_from([".npz", ".bin"]))
def test_the_cache_of_pictures(place, edits, which):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARETINA_CACHE", str(place / "cache"))
        collection = photos(place)
        samples = collection.split("train")

        def read():
            return read_pictures(collection, samples, 32, 0, 8, 16, cache_bytes=1 << 20)

        wanted = read()
        (path,) = packed.pictures_folder().glob(f"*{which}")
        if which == ".npz":
            path.write_bytes(edited(path.read_bytes(), edits))
        else:  # what it holds is not looked at again, but its length is
            os.truncate(path, int(edits[0][0] * path.stat().st_size))
        packed.packs()
        found = read()
        assert [found.image(number).tolist() for number in range(6)] == [wanted.image(number).tolist() for number in range(6)]


@FEW
@given(edits=EDITS)
def test_the_cache_of_looks(place, edits):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARETINA_CACHE", str(place / "looks"))
        file = place / "looked.txt"
        if not file.exists():
            file.write_text("a")
        kind = np.dtype([("size", np.int64)])
        made = look_cache.LookCache({"a": file}, kind, "tests")
        made.keep({"a": np.array((3,), kind)})
        made.path.write_bytes(edited(made.path.read_bytes(), edits))
        again = look_cache.LookCache({"a": file}, kind, "tests")
        assert {name: int(entry["size"]) for name, entry in again.known.items()} in ({}, {"a": 3})


# --- runs and models ------------------------------------------------------------------------------------------------------


@FEW
@given(edits=EDITS)
def test_model_files(place, edits):
    path = place / "model.safetensors"
    if not path.exists():
        save_model(path, tiny_blueprint().build(), About(("x", "y", "z")))
    damaged = place / "damaged.safetensors"
    damaged.write_bytes(edited(path.read_bytes(), edits))
    _, why = said(ValueError, lambda: load_model(damaged))
    assert not why or str(damaged) in why


@FEW
@given(edits=EDITS, name=st.sampled_from(["state.json", "tensors.safetensors"]))
def test_states(place, edits, name):
    folder = place / "state"
    folder.mkdir(exist_ok=True)
    save_state(folder, {"update": 3, "weights": {"a": torch.arange(5.0)}, "random": [torch.arange(3)]})
    (folder / name).write_bytes(edited((folder / name).read_bytes(), edits))
    state, why = said(ValueError, lambda: load_state(folder))
    assert str(folder) in why if why else isinstance(state, dict)


@FEW
@given(edits=EDITS, name=st.sampled_from(["asked.json", "log.jsonl"]))
def test_what_a_run_has_in_text(place, edits, name):
    run = Run(place / "run")
    run.path.mkdir(exist_ok=True)
    (run.path / "log.jsonl").unlink(missing_ok=True)
    run.write("asked.json", {"verb": "train", "recipe": encode(Recipe())})
    for step in range(3):
        run.log("train", step, loss=1.0)
    (run.path / name).write_bytes(edited((run.path / name).read_bytes(), edits))
    _, why = said(ValueError, lambda: Run.open(run.path).asked())
    assert not why or str(run.path) in why


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["kind", "depth", "width", "value"]), inner)
    ),
    max_leaves=5,
)


@pytest.mark.slow
@FEW
@given(values=st.lists(st.tuples(st.integers(0, 10**6), VALUES), min_size=1, max_size=3), kind=st.sampled_from([Model, Recipe]))
def test_specs_in_json(values, kind):
    data = json.loads(json.dumps(encode(tiny_blueprint() if kind is Model else Recipe())))
    for number, value in values:
        places = list(every_place(data))
        inside, key = places[number % len(places)]
        inside[key] = value
    found, why = said(ValueError, lambda: read_spec(kind, data))
    assert why or isinstance(found, kind)


def every_place(data):
    """Each entry of nested JSON, as what it is in and its key."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield data, key
        if isinstance(value, dict | list):
            yield from every_place(value)
