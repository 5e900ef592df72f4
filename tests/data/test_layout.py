from itertools import product

import pytest

from paretina.data.layout import layout_of, split_said
from paretina.data.scan import PicturePlace


def put(root, *folders):
    """A picture in each folder."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / "1.png").touch()


def crossed(*parts):
    return ["/".join(names) for names in product(*parts)]


def told(root, *reading):
    """The splits by their folders, and what is said of it."""
    layout = layout_of(PicturePlace(root), *reading)
    return {split: place.path for split, place in layout.splits.items()}, list(layout.notes)


CLASSES = ["cats", "dogs"]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *[(name, "train") for name in ("training_set", "images_train", "01_train", "TrainImages", "train2017", "trainval")],
        *[(name, "val") for name in ("dev", "DevSet", "eval", "my-validation-data", "hold_out", "holdout", "valid (1)")],
        *[(name, "test") for name in ("TEST", "test data", "testset", "dogs-vs-cats-test", "x_tst")],
        *[(name, "train") for name in ("Entrenamiento", "trainieren", "entraînement", "treino", "addestramento", "训练集")],
        *[(name, "val") for name in ("validación", "Validierung", "validação", "validazione")],
        *[(name, "test") for name in ("prueba", "testen", "essai", "Testes", "prova", "テスト")],
        *[
            (name, None)
            for name in ("trains", "contest", "invalid", "devil", "valley", "train_test", "cat", "2017", "", "größe")
        ],
    ],
)
def test_names_that_speak_of_a_split(name, split):
    assert split_said(name) == split


@pytest.mark.parametrize(
    "names",
    [
        ("training_set", "test_set"),
        ("images_train", "images_val"),
        ("train", "dev"),
        ("train", "eval"),
        ("Train", "TEST"),
        ("training-data", "test data"),
        ("01_train", "02_val", "03_test"),
        ("TrainImages", "ValImages"),
        ("train_images", "val"),
        ("trainval", "test"),
        ("entrenamiento", "prueba"),
        ("훈련", "테스트"),
        ("訓練集", "測試集"),
        ("entrenar", "validacion"),
        ("trainieren", "testen"),
        ("training", "validierung"),
        ("entrainement", "essai"),
        ("treino", "validação", "teste"),
        ("addestramento", "prova"),
    ],
)
def test_splits_by_other_names_are_taken_and_said(tmp_path, names):
    put(tmp_path, *crossed(names, CLASSES))
    splits, notes = told(tmp_path)
    assert sorted(splits.values()) == sorted(names)
    assert splits["train"] == names[0]
    plain = {"train", "training", "val", "test"}
    assert all(f"{name}/ is taken as" in notes[0] for name in names if name.lower() not in plain)
    assert notes or {name.lower() for name in names} <= plain


def test_the_usual_names_go_first(tmp_path):
    put(tmp_path, *crossed(["train", "val", "dev", "old_train", "raw"], CLASSES))
    assert told(tmp_path) == ({"train": "train", "val": "val"}, [])


def test_what_only_sounds_like_a_split_is_set_aside(tmp_path):
    put(tmp_path, *crossed(["train", "val"], CLASSES), "test results/plots", "test results/tables")
    assert told(tmp_path) == ({"train": "train", "val": "val"}, [])


def test_pictures_to_test_on_may_be_without_classes(tmp_path):
    put(tmp_path, *crossed(["asl_train/asl_train"], ["A", "B"]), "asl_test/asl_test")
    splits, notes = told(tmp_path)
    assert splits == {"train": "asl_train/asl_train"}
    assert notes == ["by their names, asl_train/ is taken as train", "the class folders of train lie in asl_train/asl_train/"]


def test_splits_may_be_wrapped_in_folders_of_their_own_name(tmp_path):
    put(tmp_path, *crossed(["training_set/training_set", "test_set/test_set"], CLASSES))
    assert told(tmp_path)[0] == {"train": "training_set/training_set", "test": "test_set/test_set"}


def test_a_lone_class_in_val_is_no_wrapper(tmp_path):
    put(tmp_path, *crossed(["train"], ["cat", "dog"]), *crossed(["val/cat"], ["day", "night"]))
    assert told(tmp_path)[0] == {"train": "train", "val": "val"}


@pytest.mark.parametrize("inner", [["train", "val"], ["training_set", "test_set"], CLASSES])
def test_a_folder_around_it_all_is_passed_through_and_named(tmp_path, inner):
    put(tmp_path, *(crossed(["deeper/dataset"], inner, CLASSES) if inner != CLASSES else crossed(["deeper/dataset"], CLASSES)))
    (tmp_path / "deeper/docs").mkdir()
    layout = layout_of(PicturePlace(tmp_path))
    assert layout.root.full_path.rstrip("/") == str(tmp_path / "deeper/dataset")
    assert [note.partition(" has pictures only in ")[2] for note in layout.notes[:2]] == [
        "deeper/, so that folder is read",
        "dataset/, so that folder is read",
    ]


def test_a_folder_beside_loose_pictures_may_be_a_class(tmp_path):
    put(tmp_path, ".", "cat/black", "cat/white")
    assert told(tmp_path) == ({"": ""}, [])


@pytest.mark.parametrize(
    "folders",
    [
        ["train", "car", "plane"],
        ["train", "plane"],
        ["test", "car"],
        ["valid", "invalid"],
        ["train station", "car park"],
        ["test tube", "test strip"],
        ["bullet train/old", "bullet train/new", "car/old", "plane"],
        ["cat/black", "cat/white", "dog"],
        ["cat/images", "dog/images"],
        ["fold", "pleat"],
        ["grade1", "grade2", "grade3"],
        ["0", "1", "2"],
    ],
)
def test_classes_stay_classes_whatever_their_names(tmp_path, folders):
    put(tmp_path, *folders)
    assert told(tmp_path) == ({"": ""}, [])


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (
            crossed(["fold1", "fold2", "fold3"], CLASSES),
            "fold1/, fold2/ and fold3/ .* cats/ and dogs/, so they look like parts",
        ),
        (["fold1/a", "fold1/b", "fold1/c", "fold2/a", "fold2/b"], "fold1/ and fold2/ .* look like parts of one set"),
        ([*crossed(["fold1", "fold2"], CLASSES), "extra"], "fold1/ and fold2/ .* look like parts of one set"),
        (crossed(["k1", "k2"], CLASSES), "look like parts"),
        (crossed(["camA", "camB"], CLASSES), "look like parts"),
        (crossed(["camera left", "camera right"], CLASSES), "look like parts"),
        (crossed(["part_a/images", "part_b/images"], CLASSES), "look like parts"),
        (crossed(["raw", "training_set"], CLASSES), "look like parts"),
        (
            crossed(["color", "gray"], ["apple", "corn", "grape"]),
            "color/ and gray/ .* apple/, corn/ and grape/, so those look like",
        ),
        (crossed(["train_a", "train_b", "val_a"], CLASSES), "train_a and train_b .* are both named like the train split"),
        (["train_set/cats", "train_set/dogs", "test_set/Katzen", "test_set/Hunde"], "have no class folder in common"),
        (crossed(["val", "test"], CLASSES), "has val/ and test/ but no train/"),
        (crossed(["dev_set", "test_set"], CLASSES), "named like splits, but none is that of train"),
        (["train", "test"], r"test/ and train/ .* no class folders in test/ and train/.* such as train/cat/1\.jpg"),
        (["train", "test", "extra"], "test/ and train/ .* no class folders"),
        (["training_set", "test_set"], "no class folders in test_set/ and training_set/"),
        (crossed(["cat", "dog"], ["train", "test"]), "cat/ .* holds test/ and train/, which would be mixed"),
        (crossed(["A", "B"], ["train", "val"], CLASSES), r"A/ .* holds splits, train/ and val/.*name the one to read"),
        ([*crossed(["dataset"], ["train", "val"], CLASSES), "samples"], "dataset/ .* holds splits"),
        (["train/train", "test1/test1"], "no class folders in test1/ and train/"),
        (["train/train", "test1/test1", "sample"], "no class folders in test1/ and train/"),
        ([*crossed(["images", "annotations"], CLASSES), "lists/x"], "images/ and annotations/ .* their annotations"),
        (crossed(["valid", "invalid", "test"], CLASSES), "has valid/ and test/ but no train/"),
        (crossed(["1", "2", "3", "4", "5"], CLASSES), "look like parts of one set"),
        (crossed(["0", "1"], ["2", "3"]), "look like parts"),
        (crossed(["fold1", "fold2"], ["0", "1"]), "look like parts"),
        (crossed(["2019", "2020"], CLASSES), "look like parts"),
        (crossed(["2019-01-31", "2019_02_28"], CLASSES), "look like parts"),
        (crossed(["Jan 2020", "feb-2020"], CLASSES), "look like parts"),
        (
            crossed(["images", "masks"], CLASSES),
            r"images/ and masks/ .* their annotations.*name the pictures alone, '.*images'",
        ),
        (crossed(["images", "segmentations"], CLASSES), "their annotations"),
        (crossed(["JPEGImages", "SegmentationClass"], CLASSES), "their annotations"),
        (crossed(["Bilder", "Annotationen"], CLASSES), "their annotations"),
        (crossed(["imágenes", "máscaras"], CLASSES), "their annotations"),
        (crossed(["images", "étiquettes"], CLASSES), "their annotations"),
        (crossed(["图像", "标注"], CLASSES), "their annotations"),
        (crossed(["画像", "ラベル"], CLASSES), "their annotations"),
        (crossed(["изображения", "маски"], CLASSES), "their annotations"),
        (crossed(["이미지", "라벨"], CLASSES), "their annotations"),
        (["img", "labels"], "their annotations, which are not classes; make one folder a class"),
        (
            [*crossed(["images/Images"], ["n1", "n2"]), "annotations/Annotation/n1"],
            "name the pictures alone, '.*images/Images'",
        ),
        (crossed(["train", "val"], ["images", "masks"]), "their annotations.*data.layout=plain"),
        (crossed(["gallery", "query"], ["1", "2", "3"]), "gallery/ and query/ .* parts of a retrieval data set"),
        (["gallery", "query"], "parts of a retrieval data set"),
        (["train/steam", "train/diesel", "car", "plane"], r"has train/ with folders in it beside car/ and plane/: is it"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value[:3]),
)
def test_what_would_train_nonsense_is_refused_unless_it_is_said_to_be_classes(tmp_path, folders, message):
    put(tmp_path, *folders)
    with pytest.raises(ValueError, match=message) as caught:
        told(tmp_path)
    assert told(tmp_path, "classes") == ({"": ""}, [])
    if "both named" not in str(caught.value):
        assert ("data.layout=plain" if message.endswith("plain") else "data.layout=classes") in str(caught.value)


@pytest.mark.parametrize("classes", [["cat", "dog"], ["class1", "class2"], ["Berlin", "Munich"], ["COVID", "Normal", "Other"]])
def test_classes_with_the_same_folders_in_them_are_taken_and_said(tmp_path, classes):
    put(tmp_path, *crossed(classes, ["day", "night"]))
    splits, (note,) = told(tmp_path)
    assert splits == {"": ""}
    assert f"hold the same folders, day/ and night/; the classes are taken to be {classes[0]}, {classes[1]}" in note


@pytest.mark.parametrize(
    "folders",
    [
        crossed(["defect", "ok"], ["cam1", "cam2", "cam3"]),
        crossed(["cat", "dog"], ["2019", "2020", "2021"]),
        crossed(["cat", "dog"], ["2019-01-31", "2019-02-01", "2019-02-02"]),
        crossed(["cat", "dog"], ["1", "2", "3"]),
        crossed(["cat", "dog"], ["left", "right", "front", "back"]),
        crossed(["cat", "dog"], ["indoor_day", "outdoor_day", "outdoor_night"]),
        crossed(["cat", "dog"], ["batch1", "batch2", "part3"]),
        crossed(["0", "1"], ["day", "night"]),
        crossed(["valid", "invalid"], ["2023", "2024"]),
        crossed(["valid", "not valid"], ["a", "b"]),
    ],
    ids="+".join,
)
def test_cameras_and_dates_within_classes_leave_them_classes_with_a_note(tmp_path, folders):
    put(tmp_path, *folders)
    splits, (note,) = told(tmp_path)
    assert splits == {"": ""}
    assert "the classes are taken to be" in note


def test_invalid_beside_train_and_valid_makes_no_class_of_valid(tmp_path):
    put(tmp_path, *crossed(["train", "valid"], CLASSES), "invalid/x")
    assert told(tmp_path)[0] == {"train": "train", "val": "valid"}


@pytest.mark.parametrize(
    "folders", [["Maske", "ohne_Maske"], ["mask", "no_mask"], ["images", "other"], ["photos", "paintings"], ["query", "insert"]]
)
def test_words_for_annotations_alone_refuse_nothing(tmp_path, folders):
    put(tmp_path, *crossed(folders, [".", "x"]))
    assert told(tmp_path) == ({"": ""}, [])


def test_classes_with_pictures_of_their_own_need_no_note(tmp_path):
    put(tmp_path, *crossed(["cat", "dog"], [".", "old", "new"]))
    assert told(tmp_path) == ({"": ""}, [])


def test_what_systems_leave_behind_has_no_say(tmp_path):
    put(tmp_path, *crossed(["train", "val"], CLASSES), "@eaDir", "$RECYCLE.BIN/train", ".old/test/x", "train/@eaDir/x")
    assert told(tmp_path) == ({"train": "train", "val": "val"}, [])
