"""Determines which folders are splits and which are classes, from their names and contents.

`train/`, `val/` and `test/` (and the other names in EXACT) are splits if they contain folders. Similar names, such as
`training_set`, `01_val` or `dev`, are splits if nothing suggests that they are classes: if every folder has such a name, or if
two of them contain the same class folders. A folder that contains only one folder, of class folders or splits, is skipped.
Each such decision is noted.

Ambiguous layouts, of which one reading would train nonsense, are errors: folds, cameras or domains that all contain the same
class folders; splits within classes; splits without class folders; `train/` with folders in it beside folders that are not
splits.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from paretina.data.names import composed, counterpart, likeness
from paretina.data.scan import PicturePlace, UnusableError

EXACT = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""Usual folder names of each split; case is ignored."""

ENGLISH = {
    "train": ("train", "training", "trn", "trainval"),
    "val": ("val", "valid", "validation", "dev", "devel", "development", "eval", "evaluation", "holdout", "heldout"),
    "test": ("test", "testing", "tst"),
}


def without_accents(word: str) -> str:
    return "".join(letter for letter in unicodedata.normalize("NFD", word) if not unicodedata.combining(letter))


FOREIGN = {
    "train": (
        *("entrenamiento", "entrenar", "trainieren", "apprentissage", "entrainement"),
        *("treino", "treinamento", "addestramento", "训练", "训练集", "訓練", "訓練集", "学習", "обучение", "훈련", "학습"),
    ),
    "val": (
        *("validacion", "validierung", "validieren", "validacao", "validazione", "validatie"),
        *("验证", "验证集", "驗證", "驗證集", "検証", "валидация", "검증"),
    ),
    "test": (
        *("prueba", "pruebas", "testen", "essai", "essais", "teste", "testes", "prova"),
        *("测试", "测试集", "測試", "測試集", "テスト", "тест", "테스트"),
    ),
}

WORDS = {split: (*ENGLISH[split], *map(without_accents, FOREIGN[split])) for split in EXACT}
"""Words in a folder name that indicate a split, also among other words; without accents."""

WORD = re.compile(
    rf"(?P<word>{'|'.join(word for words in WORDS.values() for word in words)})"
    r"(sets?|data|datasets?|images?|imgs?|pics?|pictures?|photos?|files?|folder|dir|split)?"
)

PARTS = frozenset(
    {
        "fold",
        "folds",
        "part",
        "parts",
        "split",
        "splits",
        "subset",
        "set",
        "sets",
        "batch",
        "chunk",
        "shard",
        "group",
        "version",
    }
    | {
        "camera",
        "cam",
        "session",
        "site",
        "center",
        "centre",
        "hospital",
        "domain",
        "source",
        "sequence",
        "seq",
        "scene",
        "run",
    }
    | {
        "round",
        "trial",
        "patient",
        "subject",
        "user",
        "dataset",
        "data",
        "images",
        "imgs",
        "pictures",
        "photos",
        "copy",
        "backup",
    }
    | {"original", "originals", "augmented", "raw", "processed"}
)
"""Words used for parts of a data set, and hardly ever for classes."""

KINDS = frozenset(
    {"class", "cls", "category", "cat", "grade", "type", "kind", "label", "level", "stage", "digit", "species", "score"}
)
"""Words that number classes: class1, class2."""

CONDITIONS = frozenset(
    {"cam", "cams", "camera", "cameras", "view", "angle", "left", "right", "front", "back", "rear", "top", "bottom", "side"}
    | {"day", "night", "morning", "noon", "evening", "indoor", "indoors", "outdoor", "outdoors", "inside", "outside"}
    | {"session", "batch", "part", "run", "seq", "sequence", "shift", "week", "month", "year"}
)
"""Words for where, when and in which session pictures were taken."""

MONTHS = frozenset(
    {"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"}
    | {"jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"}
)

IMAGES = frozenset(
    {"image", "images", "img", "imgs", "jpegimages", "pics", "pictures", "photos"}
    | {"bild", "bilder", "fotos", "imagen", "imagenes", "imagem", "imagens", "immagine", "immagini", "foto", "afbeeldingen"}
    | set(map(without_accents, ("图像", "图片", "圖像", "圖片", "画像", "изображение", "изображения", "картинки", "이미지")))
)
"""Words for the pictures of a data set that has annotations beside them; without accents."""

ANNOTATIONS = frozenset(
    {"annotation", "annotations", "label", "labels", "mask", "masks", "segmentation", "segmentations", "seg", "segs"}
    | {"trimap", "trimaps", "bbox", "bboxes", "groundtruth", "gt", "heatmaps", "keypoints"}
    | {"annotationen", "maske", "masken", "beschriftungen", "etiquette", "etiquettes", "masque", "masques"}
    | {"anotacion", "anotaciones", "etiqueta", "etiquetas", "mascara", "mascaras", "anotacao", "anotacoes", "rotulos"}
    | {"annotazione", "annotazioni", "etichetta", "etichette", "maschera", "maschere", "annotaties", "maskers"}
    | set(map(without_accents, ("标注", "标签", "掩码", "標註", "標籤", "アノテーション", "ラベル", "マスク")))
    | set(map(without_accents, ("аннотация", "аннотации", "разметка", "маска", "маски", "라벨", "마스크", "주석")))
)
"""Words for annotations of pictures; without accents."""

BY_THE_WAY = frozenset({"class", "object", "instance", "semantic", "pixel", "binary", "color", "png", "xml"})
"""Words that accompany those for annotations: SegmentationClass."""

RETRIEVAL = frozenset({"gallery", "query", "probe"})
"""Words for the parts of a retrieval data set."""

Reading = Literal["auto", "classes", "plain"]

OVERRIDE = "if they are the classes, say so with data.layout=classes"


@dataclass(frozen=True)
class Layout:
    """
    Attributes:
        root: where names start from.
        splits: split -> the folder with its class folders; "" -> root where there are no splits.
        passed: each folder on the way to the class folders, with those of its folders that lead there.
        notes: the decisions that were made, a sentence each.
    """

    root: PicturePlace
    splits: dict[str, PicturePlace]
    passed: tuple[tuple[PicturePlace, tuple[PicturePlace, ...]], ...] = ()
    notes: tuple[str, ...] = ()


def layout_of(root: PicturePlace, reading: Reading = "auto") -> Layout:
    """
    Args:
        reading: "classes" takes the folders in `root` as classes, whatever their names; "plain" uses only the usual names of
            splits, without further checks.

    Raises:
        ValueError: it is ambiguous, or two folders are named after the same split, or another split is there but not `train`.
        OSError: a folder cannot be listed.
    """
    if reading == "classes":
        return Layout(root, {"": root})
    if reading == "plain":
        exact = exact_splits(root)
        return Layout(root, exact, ((root, tuple(exact.values())),)) if "train" in exact else Layout(root, {"": root})
    passed: list[tuple[PicturePlace, tuple[PicturePlace, ...]]] = []
    notes: list[str] = []
    while not (splits := splits_in(root, notes)):
        inner = class_folders(root)
        if len(inner) != 1 or root.pictures or not wraps(inner[0]):
            notes += checked_classes(root, inner)
            return Layout(root, {"": root}, tuple(passed), tuple(notes))
        notes.append(f"{shown(root)} has pictures only in {inner[0].name}/, so that folder is read")
        passed.append((root, (inner[0],)))
        root = PicturePlace(inner[0].root / inner[0].path)
    passed.append((root, tuple(splits.values())))
    check_roles(unwrapped(splits["train"]), "if they are the classes, say so with data.layout=plain")
    classes = [folder.name for folder in class_folders(unwrapped(splits["train"]))]
    for split, place in splits.items():
        # a single folder in val may be a class that train has too
        while len(inner := class_folders(place)) == 1 and wraps(place) and counterpart(inner[0].name, classes) is None:
            passed.append((place, (inner[0],)))
            place = inner[0]
        if place is not splits[split]:
            notes.append(f"the class folders of {split} lie in {place.path}/")
            splits[split] = place
    return Layout(root, splits, tuple(passed), tuple(notes))


def class_folders(place: PicturePlace) -> list[PicturePlace]:
    """Its folders that have pictures at any depth."""
    return [folder for folder in place.folders if folder.has_pictures]


def wraps(place: PicturePlace) -> bool:
    """Whether a folder contains only folders, and at some depth several of them."""
    inner = class_folders(place)
    return not place.pictures and (len(inner) > 1 or (len(inner) == 1 and wraps(inner[0])))


def unwrapped(place: PicturePlace) -> PicturePlace:
    """The folder, or the single folder nested in it."""
    while len(inner := class_folders(place)) == 1 and wraps(place):
        place = inner[0]
    return place


def shown(place: PicturePlace) -> str:
    return repr(str(place.full_path).rstrip("/"))


def listed(places: Sequence[PicturePlace]) -> str:
    """The first names of some folders, for a sentence."""
    names = [f"{place.name}/" for place in places[:4]]
    if len(places) > len(names):
        return f"{', '.join(names)} and {len(places) - len(names)} more"
    return " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"


# --- names ---------------------------------------------------------------------------------------------------------------


def words_of(name: str) -> list[str]:
    """The words of a name, in lower case: `01_trainImages` has train and images."""
    apart = re.sub(r"(?<=[^\W\d_A-Z])(?=[A-Z])", " ", composed(name))
    return re.findall(r"[^\W\d_]+", apart.casefold())


def exact_split(name: str) -> str | None:
    return next((split for split, names in EXACT.items() if name.strip().lower() in names), None)


def split_said(name: str) -> str | None:
    """The split that a name indicates; None if it indicates none or several."""
    words = words_of(name)
    found = {split_of_word(word) for word in (*words, "".join(words))} - {None}
    return found.pop() if len(found) == 1 else None


def split_of_word(word: str) -> str | None:
    match = WORD.fullmatch(without_accents(word))
    return next((split for split, words in WORDS.items() if match["word"] in words), None) if match else None


def valid_means_good(places: Sequence[PicturePlace]) -> bool:
    """Whether there is an `invalid` beside a `valid`, and no other split beside both."""
    words = {"".join(words_of(place.name)) for place in places}
    return bool(words & {"invalid", "notvalid", "nonvalid"}) and not any(
        split_said(place.name) in ("train", "test") for place in places
    )


def is_number(name: str) -> bool:
    """Whether a name is just a number, a year, a month or a date."""
    words = set(words_of(name))
    return words <= MONTHS and (bool(words) or any(letter.isdigit() for letter in name))


def is_condition(name: str) -> bool:
    """Whether a name says only where, when or in which session pictures were taken, not what they show."""
    words = set(words_of(name))
    return is_number(name) or (bool(words) and words <= CONDITIONS | MONTHS)


def names_parts(places: Sequence[PicturePlace]) -> bool:
    """Whether the names are those of parts of a data set, or number something other than classes: fold1, fold2; camA, camB."""
    words = [words_of(place.name) for place in places]
    if any(split_of_word(word) for each in words for word in each) and not valid_means_good(places):
        return True
    if len(places) > 1 and all(is_number(place.name) for place in places):
        return True
    if all(PARTS & set(each) for each in words):
        return True
    stems = {
        re.sub(r"(\d+|(?<![^\W\d_])[^\W\d_]|(?<=[a-z])[A-Z])$", "", place.name).strip(" _-.").casefold() for place in places
    }
    return len(places) > 1 and len(stems) == 1 and stems != {""} and not KINDS & set(words_of(stems.pop()))


# --- splits --------------------------------------------------------------------------------------------------------------


def splits_in(root: PicturePlace, notes: list[str]) -> dict[str, PicturePlace]:
    """Split -> the folder with its class folders; empty if the folders are not splits.

    Raises:
        ValueError: two folders are named after the same split, there are splits but no `train`, or `train` may be a class.
    """
    exact = exact_splits(root)
    full = class_folders(root)
    said = {place: None if valid_means_good(full) else split_said(place.name) for place in full}
    loose: dict[str, list[PicturePlace]] = {split: [] for split in EXACT if split not in exact}
    for place, split in said.items():
        if split in loose and is_labelled(place, split):
            loose[split].append(place)
    trains = [exact["train"]] if "train" in exact else loose["train"]
    if exact and not trains:
        there = list(exact.values())
        raise UnusableError(
            f"{shown(root)} has {listed(there)} but no train/ with class folders in it; to measure on one, name it: "
            f"{shown(there[0])}; {OVERRIDE}"
        )
    classes = set().union(*(kinds_in(place) for place in trains))
    related = {
        split: [
            place for place in places if classes & (kinds_in(place) | {likeness(each.name) for each in class_folders(place)})
        ]
        for split, places in loose.items()
    }
    all_said = all(said.values()) and len(set(said.values())) > 1
    if not trains or not (exact or all_said or related.get("val") or related.get("test")):
        return {}
    strange = [place for split in ("val", "test") for place in loose.get(split, ())]
    if all_said and not exact and strange and not (related["val"] or related["test"]):
        raise UnusableError(
            f"{listed([*trains, *strange])} in {shown(root)} are named like splits, but have no class folder in common; "
            f"call class folders the same in each; {OVERRIDE}"
        )
    for split, places in related.items():
        if len(places) > 1:
            raise both_claim(root, split, places)
    taken = {split: places[0] for split, places in related.items() if places}
    named = exact | taken
    splits = {split: named[split] for split in EXACT if split in named}
    others = [place for place in full if not said[place]]
    if len(splits) == 1 and others:
        train = splits["train"]
        raise UnusableError(
            f"{shown(root)} has {train.name}/ with folders in it beside {listed(others)}: is it the training split or a class? "
            f"If it is the split, name {shown(train)} itself, or leave out the others with data.layout=plain; {OVERRIDE}"
        )
    if taken:
        notes.append("by their names, " + ", ".join(f"{place.name}/ is taken as {split}" for split, place in taken.items()))
    return splits


def both_claim(root: PicturePlace, split: str, places: Sequence[PicturePlace]) -> UnusableError:
    names = " and ".join(place.name for place in places)
    return UnusableError(f"{names} in {shown(root)} are both named like the {split} split; keep one of them")


def exact_splits(root: PicturePlace) -> dict[str, PicturePlace]:
    """The folders with the usual names of splits, if they contain folders, at least one of which has pictures."""
    found: dict[str, PicturePlace] = {}
    if valid_means_good(root.folders):
        return found
    for split in EXACT:
        claims = [place for place in root.folders if exact_split(place.name) == split and is_labelled(place, split)]
        if len(claims) > 1:
            raise both_claim(root, split, claims)
        if claims:
            found[split] = claims[0]
    return found if any(class_folders(place) for place in found.values()) else {}


def is_labelled(place: PicturePlace, split: str) -> bool:
    """Whether it contains class folders, even empty ones; a single `test/test/` with unsorted pictures does not count."""
    inner = class_folders(unwrapped(place))
    return bool(place.folders) and not (len(inner) == 1 and split_said(inner[0].name) == split)


def has_classes(place: PicturePlace, split: str) -> bool:
    return bool(class_folders(place)) and is_labelled(place, split)


def kinds_in(place: PicturePlace) -> set[str]:
    """The normalised names of the class folders in a possible split."""
    return {likeness(folder.name) for folder in class_folders(unwrapped(place))}


# --- classes -------------------------------------------------------------------------------------------------------------


def checked_classes(root: PicturePlace, classes: list[PicturePlace]) -> list[str]:
    """Notes about folders that are taken as classes.

    Raises:
        ValueError: they are probably not classes.
    """
    if len(classes) < 2:
        return []
    said = [split_said(place.name) for place in classes]
    exact = {exact_split(place.name.rstrip("0123456789 _-")) for place in classes}
    if (all(said) and len(set(said)) > 1) or ("train" in exact and exact & {"val", "test"}):
        splits = [place for place, split in zip(classes, said, strict=True) if split]
        bare = [place for place, split in zip(classes, said, strict=True) if split and not has_classes(place, split)]
        fault = f"there are no class folders in {listed(bare)}" if bare else "none is that of train"
        raise UnusableError(
            f"{listed(splits)} in {shown(root)} are named like splits, but {fault}; "
            f"one folder per class is needed, such as train/cat/1.jpg and train/dog/2.jpg; {OVERRIDE}"
        )
    check_roles(root)
    check_inner_splits(root, classes)
    return checked_sharing(root, classes)


def check_roles(root: PicturePlace, override: str = OVERRIDE) -> None:
    """Raises ValueError if the folders are pictures and their annotations, or the parts of a retrieval data set."""
    classes = class_folders(root)
    words = {place: set(map(without_accents, words_of(place.name))) for place in classes}
    images = [place for place in classes if words[place] and words[place] <= IMAGES]
    drawn = [place for place in classes if words[place] & ANNOTATIONS and words[place] <= ANNOTATIONS | IMAGES | BY_THE_WAY]
    nothing_else = len(images) + len(drawn) == len(classes)
    if images and drawn and (nothing_else or any(kinds_in(one) & kinds_in(other) for one in images for other in drawn)):
        inner = unwrapped(images[0])
        what = f"name the pictures alone, {shown(inner)}" if len(class_folders(inner)) > 1 else "make one folder a class"
        raise UnusableError(
            f"{listed([*images, *drawn])} in {shown(root)} are named like pictures and their annotations, "
            f"which are not classes; {what}; {override}"
        )
    if len(classes) > 1 and all(words[place] & RETRIEVAL for place in classes):
        raise UnusableError(
            f"{listed(classes)} in {shown(root)} are named like the parts of a retrieval data set, which are not classes; "
            f"name one to train on, such as {shown(unwrapped(classes[0]))}, or make train/ and val/ of them; {override}"
        )


def check_inner_splits(root: PicturePlace, classes: list[PicturePlace]) -> None:
    """Raises ValueError if a class folder contains splits."""
    for place in classes:
        inner = class_folders(unwrapped(place))
        said = {each: exact_split(each.name) or split_said(each.name) for each in inner}
        exact = {exact_split(each.name) for each in inner} - {None}
        named = {split for split in said.values() if split}
        if "train" not in named or len(named) < 2 or not (all(said.values()) or len(exact) > 1):
            continue
        splits = [each for each, split in said.items() if split]
        if all(class_folders(each) for each in splits):
            raise UnusableError(
                f"{place.name}/ in {shown(root)} holds splits, {listed(splits)}, and lies beside other folders with pictures; "
                f"name the one to read, such as {shown(unwrapped(place))}; {OVERRIDE}"
            )
        raise UnusableError(
            f"{place.name}/ in {shown(root)} holds {listed(splits)}, which would be mixed and split again; "
            f"put the splits outside, such as {splits[0].name}/{place.name}/1.jpg; {OVERRIDE}"
        )


def checked_sharing(root: PicturePlace, classes: list[PicturePlace]) -> list[str]:
    """Returns a note if all classes contain the same folders.

    Raises:
        ValueError: it is more likely that the folders within them are the classes.
    """
    if all(place.pictures for place in classes):
        return []
    inner = {place: kinds_in(place) for place in classes}
    deep = [place for place in classes if len(inner[place]) > 1]
    if len(deep) < 2:
        return []
    shared = set.intersection(*(inner[place] for place in deep))
    union = set.union(*(inner[place] for place in deep))
    if len(shared) < 2 or 2 * len(shared) < len(union):
        return []
    if len(deep) < len(classes) and not names_parts(deep):
        return []
    within = [folder for folder in class_folders(unwrapped(deep[0])) if likeness(folder.name) in shared]
    found = f"{listed(deep)} in {shown(root)} hold the same folders, {listed(within)}"
    parts = names_parts(deep)
    if all(is_condition(folder.name) for folder in within):
        # numbers outside are classes where no numbers are inside: 0/day, 1/day
        numbers = all(is_number(place.name) for place in deep) and not all(is_number(folder.name) for folder in within)
        doubtful = parts and not numbers
    else:
        doubtful = parts or len(shared) > len(deep)
    if doubtful:
        guess = "they look like parts of one set" if parts else "those look like the classes"
        raise UnusableError(
            f"{found}, so {guess}; name one to train on, such as {shown(unwrapped(deep[0]))}, or make train/ and val/ of them; "
            f"{OVERRIDE}, or with --groups folder if {listed(within)} are groups, such as patients, that stay on one side of a "
            "split"
        )
    first, second = (place.name for place in deep[:2])
    return [
        f"{found}; the classes are taken to be {first}, {second}{' and so on' if len(deep) > 2 else ''}, with all that lies in "
        f"them. If the folders within are the classes, name the one to train on, such as {shown(unwrapped(deep[0]))}"
    ]
