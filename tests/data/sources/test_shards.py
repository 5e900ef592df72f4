import http.server
import io
import json
import pickle
import random
import tarfile
import threading

import numpy as np
import PIL.Image
import pytest

from paretina import verbs
from paretina.data.decode import DecodeError
from paretina.data.named import source_named
from paretina.data.sources import shards
from paretina.data.sources.folder import Folder
from paretina.data.sources.shards import Shards, archives, expanded, shard_names
from paretina.model.tasks.any_of import ABSENT, AnyOf
from paretina.model.tasks.one_of import OneOf


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PARETINA_CACHE", str(tmp_path / "cache"))


def picture(number):
    buffer = io.BytesIO()
    noise = np.random.default_rng(number).integers(0, 256, (6, 5, 3), np.uint8)
    PIL.Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def write(path, members, **kinds):
    """Writes a tar archive of (name, bytes)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **kinds) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def some(start, stop, front=""):
    """Members of pictures whose class is their number modulo 2."""
    for number in range(start, stop):
        yield f"{front}{number:04d}.png", picture(number)
        yield f"{front}{number:04d}.cls", str(number % 2).encode()


@pytest.fixture
def place(tmp_path):
    root = tmp_path / "data"
    write(root / "train-000.tar", some(0, 6))
    write(root / "train-001.tar", some(6, 10))
    write(root / "val-000.tar", some(10, 14))
    return root


def require_right(found):
    """Each picture has the pixels and the class of its number."""
    for split, samples in found.splits.items():
        for sample in samples:
            number = int(sample.name[-8:-4])
            expected = np.array(PIL.Image.open(io.BytesIO(picture(number)))).transpose(2, 0, 1)
            np.testing.assert_array_equal(found.image(sample).numpy(), expected)
            assert found.classes[sample.label] == str(number % 2), (split, sample)


def test_a_folder_of_archives_is_known_and_read(place):
    assert source_named(str(place)) == Shards(path=str(place))
    found = Shards(path=str(place)).open()
    assert found.classes == ("0", "1")
    assert found.task == OneOf()
    assert [sample.name for sample in found.split("train")] == [f"train-{n // 6:03d}/{n:04d}.png" for n in range(10)]
    assert len(found.split("val")) == 4
    assert found.notes == ()
    require_right(found)
    assert found.file(found.split("val")[0]) == place / "val-000.tar"
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    require_right(again)
    assert verbs.data_check(str(place)).samples == 14
    (place / "cat").mkdir()  # an archive beside class folders
    assert isinstance(source_named(str(place)), Folder)


def test_ranges_and_fields_name_archives(place, tmp_path):
    found = source_named(str(place / "train-{000..001}.tar")).open()
    assert len(found.split("train")) + len(found.split("val")) == 10
    assert {split: len(samples) for split, samples in found.splits.items() if split == "val"} != {"val": 0}
    write(tmp_path / "a.tar", some(0, 4))
    write(tmp_path / "b.tar", some(4, 6))
    found = Shards(path=str(tmp_path / "a.tar"), val=str(tmp_path / "b.tar")).open()
    assert [len(found.split(split)) for split in ("train", "val")] == [4, 2]
    require_right(found)
    with pytest.raises(ValueError, match=r"a\.tar is named twice"):
        Shards(path=str(tmp_path / "a.tar"), val=str(tmp_path / "a.tar")).open()


def test_folders_of_archives_say_their_split(place, tmp_path):
    write(tmp_path / "sets" / "train" / "0.tar", some(0, 6))
    write(tmp_path / "sets" / "validation" / "0.tar", some(6, 10))
    assert isinstance(source_named(str(tmp_path / "sets")), Shards)
    found = Shards(path=str(tmp_path / "sets")).open()
    assert [sample.name for sample in found.split("val")] == [f"validation/0/{n:04d}.png" for n in range(6, 10)]
    require_right(found)


def test_without_splits_a_part_is_held_out(tmp_path):
    write(tmp_path / "data.tar", some(0, 40))
    source = Shards(path=str(tmp_path / "data.tar"), val_share=0.25)
    found = source.open()
    assert {sample.label for sample in found.split("val")} == {0, 1}
    require_right(found)
    assert source.pinned(found).open().splits == found.splits


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("a-{0..2}.tar", ["a-0.tar", "a-1.tar", "a-2.tar"]),
        ("a-{008..010}.tar", ["a-008.tar", "a-009.tar", "a-010.tar"]),
        ("a-{8..10}.tar", ["a-8.tar", "a-9.tar", "a-10.tar"]),
        ("{0..1}-{0..1}.tar", ["0-0.tar", "0-1.tar", "1-0.tar", "1-1.tar"]),
    ],
)
def test_ranges_stand_for_what_a_shell_makes_of_them(written, names):
    assert expanded(written) == names


@pytest.mark.parametrize("wrong", ["a-{0..}.tar", "a-{a,b}.tar", "a-{3..1}.tar", "a-{0..9999999}.tar", "a-{0..1.tar"])
def test_other_braces_are_refused(wrong):
    with pytest.raises(ValueError, match=r"braces have a range|can be read"):
        expanded(wrong)


def test_names_are_as_short_as_they_can_be():
    assert shard_names(["/a/0.tar", "/a/1.tar"]) == ["0", "1"]
    assert shard_names(["/a/x/0.tar", "/a/y/0.tar"]) == ["x/0", "y/0"]


# --- labels and members -----------------------------------------------------------------------------------------------


def test_labels_are_names_or_json(tmp_path):
    members = [
        ("a.PNG", picture(0)), ("a.cls", b" cat\n"),
        ("in/b.png", picture(1)), ("in/b.json", json.dumps({"width": 5, "label": "dog"}).encode()),
        ("c.png", picture(2)), ("c.json", b"{}"), ("c.cls", "\ufeffcat".encode()),
    ]  # fmt: skip
    found = Shards(path=str(write(tmp_path / "train.tar", members)), val_share=0).open()
    assert [(sample.name, found.classes[sample.label]) for sample in found.split("train")] == [
        ("train/a.PNG", "cat"), ("train/in/b.png", "dog"), ("train/c.png", "cat"),
    ]  # fmt: skip


def test_a_list_of_labels_is_any_number_of_classes(tmp_path):
    lists = ([1, 3], [], [3], ["1"])
    members = [
        each
        for n, labels in enumerate(lists)
        for each in ((f"{n}.png", picture(n)), (f"{n}.json", json.dumps({"label": labels}).encode()))
    ]
    found = Shards(path=str(write(tmp_path / "train.tar", members)), val_share=0).open()
    assert found.task == AnyOf()
    assert found.classes == ("1", "3")
    none = pytest.approx([ABSENT, ABSENT])
    assert [found.target(sample).tolist() for sample in found.split("train")] == [[1, 1], none, [0, 1], [1, 0]]


def test_classes_can_have_names(place):
    found = Shards(path=str(place), classes=("even", "odd", "neither")).open()
    assert found.classes[found.split("train")[1].label] == "odd"
    write(place / "train-002.tar", [("2.png", picture(2)), ("2.cls", b"2")])
    with pytest.raises(ValueError, match="has the label '2', which is none of the classes"):
        Shards(path=str(place), classes=("even", "odd")).open()
    with pytest.raises(ValueError, match=r"Shards\.classes must be 2 or more different names"):
        Shards(path=str(place), classes=("a", "a")).open()


class Exploding:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


def test_other_members_are_counted_and_never_unpickled(tmp_path):
    evil = pickle.dumps(Exploding())
    members = [
        *some(0, 2),
        *((f"0000.{kind}", evil) for kind in ("pyd", "pickle", "pth", "npy", "seg.pyd")),
        (".0001.png", b""),
    ]
    path = write(tmp_path / "train.tar", members)
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("0003.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        folder = tarfile.TarInfo("deep")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    found = Shards(path=str(path), val_share=0).open()
    assert len(found.split("train")) == 2
    (note,) = [note for note in found.notes if "left out" in note]
    assert note == (
        "left out of the archives: .npy: 1, .pickle: 1, .pth: 1, .pyd: 1, .seg.pyd: 1, hidden files: 1, links and devices: 1"
    )


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_in_every_form_of_tar(tmp_path, form):
    front = "x" * 60 + "/" + "y" * 60 + "/" + ("" if form == tarfile.USTAR_FORMAT else "z" * 120 + "/é/")
    found = Shards(path=str(write(tmp_path / "train.tar", some(0, 4, front), format=form)), val_share=0).open()
    assert [sample.name for sample in found.split("train")] == [f"train/{front}{n:04d}.png" for n in range(4)]
    require_right(found)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.png", b""), ("a.jpg", b"")], r"train\.tar has two pictures 'a': 'a\.png' and 'a\.jpg'"),
        ([("a.png", b""), ("a.cls", b"1"), ("a.json", b'{"label": 2}')], r"train\.tar has two labels for 'a': '1' and '2'"),
        ([("a.png", b"")], r"train\.tar: 'a\.png' has no label: neither \.cls nor \.json"),
        ([("a.png", b""), ("a.cls", b"")], r"train\.tar: 'a\.cls' has no label"),
        ([("a.png", b""), ("a.cls", b"\xff")], r"'a\.cls' is not text in UTF-8"),
        ([("a.png", b""), ("a.cls", b"x\ny")], r"'a\.cls' has the label .*, no name"),
        ([("a.png", b""), ("a.cls", bytes(2_000_000))], r"'a\.cls' has 2,000,000 bytes, which is no label"),
        ([("a.png", b""), ("a.json", b"{")], r"'a\.json' is not JSON"),
        ([("a.png", b""), ("a.json", b'{"label": 1.5}')], r"'a\.json' has the label 1\.5, which is neither"),
        ([("a.png", b""), ("a.json", b"9" * 5000)], r"'a\.json' is not JSON"),
        ([("a.png", b""), ("a.json", b"[" * 100_000)], r"'a\.json' is not JSON"),
        ([("a.png", b""), ("a.cls", b"1"), ("b.png", b""), ("b.cls", b"x")], "labels that are numbers and"),
        ([("a.png", b""), ("a.cls", b"1")], "has a single class, '1'"),
        ([("a.cls", b"1")], r"has no pictures in 1 archive: labels without a picture: 1"),
        ([("a.txt", b"1")], r"has no pictures in 1 archive: \.txt: 1"),
    ],
)
def test_what_is_wrong_with_members_is_said(tmp_path, members, message):
    path = write(tmp_path / "train.tar", members)
    with pytest.raises(ValueError, match=message):
        Shards(path=str(path), val_share=0).open()


def test_what_is_no_archive_is_refused(tmp_path):
    for name, message in (("a.tar.gz", "is packed"), ("a.tgz", "is packed")):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(ValueError, match=message):
            source_named(str(tmp_path / name)).open()
    with pytest.raises(ValueError, match="there is no archive"):
        Shards(path=str(tmp_path / "none.tar")).open()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"has no \.tar archives"):
        archives(str(tmp_path / "empty"))
    with pytest.raises(ValueError, match="only addresses that begin with https:// or http://"):
        Shards(path="s3://bucket/a.tar").open()


# --- damage -----------------------------------------------------------------------------------------------------------


def test_an_archive_that_is_cut_off_anywhere_is_named(tmp_path):
    path = write(tmp_path / "train.tar", some(0, 3))
    data = path.read_bytes()
    end = len(data.rstrip(b"\0")) // 512 * 512 + 512
    for length in (0, 100, 512, 700, end - 512, end - 1, end, *range(512, end, 512)):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"train\.tar"):
            Shards(path=str(path), val_share=0).open()


def test_a_damaged_header_in_the_middle_does_not_lose_the_rest(tmp_path):
    path = write(tmp_path / "train.tar", some(0, 6))
    data = path.read_bytes()
    with tarfile.open(path) as archive:
        place = archive.getmembers()[4].offset
    path.write_bytes(data[: place + 10] + b"\xff\xff" + data[place + 12 :])
    with pytest.raises(ValueError, match=r"train\.tar cannot be read to its end: it is damaged, after 2 pictures"):
        Shards(path=str(path)).open()


def test_a_damaged_picture_is_named_when_it_is_read(tmp_path):
    path = write(tmp_path / "train.tar", [*some(0, 2), ("x.png", b"no picture"), ("x.cls", b"1")])
    found = Shards(path=str(path), val_share=0).open()
    with pytest.raises(DecodeError, match=r"^train/x\.png: not a picture"):
        found.image(found.split("train")[2])
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DecodeError, match=r"^train/0001\.png: its archive has become shorter"):
        found.image(found.split("train")[1])


def test_mutations_are_read_or_refused(tmp_path):
    path = write(tmp_path / "train.tar", some(0, 4))
    data, draw = path.read_bytes(), random.Random(0)
    for _ in range(300):
        broken = bytearray(data)
        for _ in range(draw.randint(1, 3)):
            start = draw.randrange(0, 8) * 1024 if draw.random() < 0.7 else draw.randrange(len(data) - 600)
            broken[start + draw.randrange(512)] = draw.randrange(256)
        path.write_bytes(broken)
        try:
            found = Shards(path=str(path), val_share=0).open()
        except ValueError as error:
            if "train.tar" not in str(error):
                raise
            continue
        for sample in found.split("train"):
            try:
                found.image(sample)
            except DecodeError:
                continue


# --- the cache --------------------------------------------------------------------------------------------------------


def test_archives_are_looked_through_once_until_they_change(place, monkeypatch, tmp_path):
    source = Shards(path=str(place))
    first = source.open()
    with monkeypatch.context() as patched:
        patched.setattr(shards, "looked_through", None)
        again = source.open()
        assert again == first
        require_right(again)
    write(place / "val-000.tar", some(20, 24))
    assert [sample.name[-8:-4] for sample in source.open().split("val")] == ["0020", "0021", "0022", "0023"]
    for cached in (tmp_path / "cache" / "shards").iterdir():
        cached.write_bytes(cached.read_bytes()[:300])
    require_right(source.open())


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(place):
    """The address of a server of the folder, and the paths that were asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given):
            super().__init__(*given, directory=str(place))

        def do_GET(self):
            asked.append(self.path)
            if self.path.startswith("/short"):
                self.send_response(200)
                self.send_header("Content-Length", "5000")
                self.end_headers()
                self.wfile.write(bytes(1000))
                return
            super().do_GET()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_archives_at_an_address_are_downloaded_once(served, tmp_path):
    address, asked = served
    source = source_named(f"{address}/train-{{000..001}}.tar")
    assert isinstance(source, Shards)
    found = Shards(path=source.path, val=f"{address}/val-000.tar").open()
    assert len(found.split("train")) == 10
    require_right(found)
    assert sorted(asked) == ["/train-000.tar", "/train-001.tar", "/val-000.tar"]
    again = Shards(path=source.path, val=f"{address}/val-000.tar").open()
    assert again == found
    assert len(asked) == 3


def test_a_download_that_fails_leaves_nothing(served, tmp_path):
    address, _ = served
    with pytest.raises(ValueError, match=r"/none\.tar: the server says 404"):
        Shards(path=f"{address}/none.tar").open()
    with pytest.raises(ValueError, match=r"/short\.tar.*(1,000 of 5,000 bytes came|cannot be downloaded)"):
        Shards(path=f"{address}/short.tar").open()
    assert not list((tmp_path / "cache").rglob("*.tar*"))


def test_a_server_that_is_not_there_is_said():
    with pytest.raises(ValueError, match=r"http://127\.0\.0\.1:9/a\.tar cannot be downloaded"):
        Shards(path="http://127.0.0.1:9/a.tar").open()


def test_what_webdataset_writes_is_read(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "train-0.tar")) as writer:
        for number in range(6):
            writer.write({"__key__": f"{number:04d}", "png": picture(number), "cls": number % 2})
    found = Shards(path=str(tmp_path / "train-0.tar"), val_share=0).open()
    assert len(found.split("train")) == 6
    require_right(found)
