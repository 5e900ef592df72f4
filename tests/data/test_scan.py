import os
from collections import Counter

import pytest

from paretina.data.scan import PicturePlace, left_out_text
from paretina.data.sources.folder import Folder
from paretina.verbs.files import pictures_in

JUNK = ["@eaDir", "@EADIR", "#recycle", "$RECYCLE.BIN", "System Volume Information", "__MACOSX", "lost+found", "__pycache__"]
JUNK += ["RECYCLER", "Recycled", "RECYCLED", "~snapshot", "trashbox", "resource.frk", "Catalog Previews.lrdata"]
JUNK += ["_gsdata_", "CatalogThumbs", ".snapshot", ".fseventsd", ".Spotlight-V100", ".TemporaryItems"]
JUNK += [".ipynb_checkpoints", ".Trash-1000", ".Trashes", ".AppleDouble", "found.000", "Temporary Items"]


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def scanned(root):
    left_out = Counter()
    return list(PicturePlace(root).all_pictures(left_out)), dict(left_out)


def test_pictures_are_told_by_their_endings_in_any_case_and_come_in_order(tmp_path):
    touch(tmp_path, "b.PNG", "a/z.jpeg", "c.webp", "a.tiff", "a/b/1.jpg")
    assert scanned(tmp_path) == (["a/b/1.jpg", "a/z.jpeg", "a.tiff", "b.PNG", "c.webp"], {})


@pytest.mark.parametrize("junk", JUNK)
def test_what_systems_leave_behind_is_left_out_at_any_depth(tmp_path, junk):
    touch(tmp_path, "1.png", f"{junk}/2.png", f"deep/{junk}/3.png/4.jpg", "deep/5.png")
    reason = "hidden" if junk.startswith(".") else f"system folders {junk}"
    assert scanned(tmp_path) == (["1.png", "deep/5.png"], {reason: 2})


def test_a_class_with_a_name_like_that_of_a_system_is_none(tmp_path):
    touch(tmp_path, "recycled/1.png", "lost and found/2.png", "eaDir/3.png", "thumbs/4.png")
    assert len(scanned(tmp_path)[0]) == 4


def test_counts_files_by_the_reason_that_they_are_left_out_for(tmp_path):
    touch(tmp_path, "1.png", "._1.png", ".DS_Store", "Thumbs.db", "sub/DESKTOP.INI", "a.cr2", "b.cr2", "README", "x.png.part")
    found, left_out = scanned(tmp_path)
    assert found == ["1.png"]
    assert left_out == {"hidden": 2, "system files": 2, ".cr2": 2, "no suffix": 1, ".part": 1}
    assert left_out_text(Counter(left_out)) == ("files left out: .cr2: 2, .part: 1, hidden: 2, no suffix: 1, system files: 2")
    assert left_out_text(Counter()) == ""


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_are_followed_but_not_in_circles(tmp_path):
    touch(tmp_path, "in/a/1.png", "out/2.png")
    (tmp_path / "in/a/linked").symlink_to(tmp_path / "out")
    (tmp_path / "in/a/up").symlink_to(tmp_path / "in")
    (tmp_path / "in/a/gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "in/a/itself.png").symlink_to(tmp_path / "in/a/itself.png")
    (tmp_path / "in/a/gone").symlink_to(tmp_path / "nowhere")
    found, left_out = scanned(tmp_path / "in")
    assert found == ["a/1.png", "a/gone.png", "a/itself.png", "a/linked/2.png"]
    assert left_out == {"links to a folder above them": 1, "broken links": 1}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "linked.png").symlink_to(tmp_path / "pipe.png")
    assert scanned(tmp_path) == ([], {"devices, pipes and sockets": 2})


def test_a_folder_is_listed_only_when_it_is_looked_into(tmp_path):
    touch(tmp_path, "a/1.png", "b/c/2.png")
    place = PicturePlace(tmp_path)
    assert [each.name for each in place.folders] == ["a", "b"]
    assert place.pictures == []
    assert place.has_pictures
    assert "listing" not in vars(place.folders[1])


def test_training_and_prediction_see_the_same_pictures(tmp_path):
    touch(
        tmp_path, "in/a/1.png", "in/a/deep/2.JPG", "in/b/3.png", "in/b/.4.png", "in/b/@eaDir/5.png", "in/b/6.txt", "out/7.png"
    )
    if os.name != "nt":
        (tmp_path / "in/b/linked").symlink_to(tmp_path / "out")
        (tmp_path / "in/b/gone.png").symlink_to(tmp_path / "nowhere.png")
    collection = Folder(path=str(tmp_path / "in")).open()
    learned = sorted(str(tmp_path / "in" / sample.name) for split in collection.splits.values() for sample in split)
    left_out = Counter()
    assert pictures_in([tmp_path / "in"], left_out) == learned
    assert left_out == {".txt": 1, "hidden": 1, "system folders @eaDir": 1}
    assert left_out_text(left_out) in collection.notes
