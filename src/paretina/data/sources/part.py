"""Part: another source with fewer training pictures, or with wrong labels among them.

Shows what more pictures would bring, and how much label noise a recipe tolerates. Only the training pictures change;
validation and test stay as they are. The only cost is the memory of repeated pictures, if any.

What is kept follows from the seed and the names alone (SHA-256), as in `paretina.data.split`: the pictures of a smaller share
are among those of a larger one, each class keeps its share (to within half a picture, and at least one), and a label that is
wrong at little noise is wrong in the same way at more noise and in any share.

Source: subsets as in Sun et al. 2017 (arXiv:1707.02968), section 5; here they are nested and stratified.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

from paretina.data.source import Collection, Sample, Source, WrappedCollection
from paretina.data.sources.arrays import Arrays
from paretina.data.sources.shapes import Shapes
from paretina.data.split import place
from paretina.model.tasks.one_of import OneOf


@dataclass(frozen=True, kw_only=True)
class Part(Source):
    """
    Attributes:
        source: the full data.
        share: share of each class's training pictures that is kept, in (0, 1].
        noise: probability that the label of a training picture is wrong, in [0, 1]; it then names one of the *other* classes
            with equal probability, so that a share of 1 - `noise` stays right.
        seed: determines which pictures are kept and which labels are wrong.
        repeat: whether the kept pictures are repeated up to the original number, so that an epoch has as many updates as
            before, and everything in the recipe that is given in epochs takes the same number of updates.
    """

    source: Source
    share: float = 1.0
    noise: float = 0.0
    seed: int = 0
    repeat: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"Part.share must be in (0, 1], got {self.share:g}")
        if not 0 <= self.noise <= 1:
            raise ValueError(f"Part.noise must be in [0, 1], got {self.noise:g}")

    def open(self) -> "PartCollection":
        whole = self.source.open()
        before = whole.split("train")
        kept = self.kept(before)
        labelled = tuple(self.relabelled(sample, len(whole.classes)) for sample in kept)
        wrong = sum(new.label != old.label for new, old in zip(labelled, kept, strict=True))
        notes = list(whole.notes)
        if self.share < 1:
            notes.append(f"kept {len(kept):,} of {len(before):,} training pictures, the same share of each class")
        if self.noise:
            if not isinstance(whole.task, OneOf):
                raise ValueError(f"Part.noise needs one class per picture, but the task of this data is {whole.task.WORDS}")
            if whole.is_soft():
                raise ValueError("Part.noise needs labels that are classes, and those of this data are probabilities")
            notes.append(f"made {wrong:,} of {len(kept):,} training labels wrong, on purpose; validation labels are untouched")
        originals: dict[str, str] = {}
        if self.repeat and len(labelled) < len(before):
            labelled, originals = repeated(labelled, len(before))
            notes.append(f"repeated them until they were {len(before):,} again, so that an epoch has as many updates")
        splits = {**whole.splits, "train": labelled}
        more: dict[str, Any] = {"task": whole.task, "weighted": whole.weighted, "whole": whole, "originals": originals}
        return PartCollection(whole.classes, splits, tuple(notes), whole.mirrors, **more)

    def pinned(self, collection: Collection) -> "Part":
        return replace(self, source=self.source.pinned(collection.whole)) if isinstance(collection, PartCollection) else self

    def kept(self, samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        """The samples of the share, in their original order."""
        if self.share == 1:
            return samples
        classes: dict[int, list[Sample]] = defaultdict(list)
        for sample in samples:
            classes[sample.label].append(sample)
        names: set[str] = set()
        for members in classes.values():
            ranked = sorted(members, key=lambda sample: (place(f"{self.seed}/share/{sample.name}"), sample.name))
            names.update(sample.name for sample in ranked[: max(1, math.floor(self.share * len(members) + 0.5))])
        return tuple(sample for sample in samples if sample.name in names)

    def relabelled(self, sample: Sample, classes: int) -> Sample:
        """The sample with its label, or with a wrong one."""
        if place(f"{self.seed}/noise/{sample.name}") >= self.noise:
            return sample
        other = int(place(f"{self.seed}/label/{sample.name}") * (classes - 1))
        return replace(sample, label=other + (other >= sample.label))


def repeated(samples: tuple[Sample, ...], count: int) -> tuple[tuple[Sample, ...], dict[str, str]]:
    """Repeats the samples up to `count`, each time under another name; also returns the original name of each.

    The last round takes evenly from all of them, so that classes keep their shares there too.
    """
    rounds, rest = divmod(count, len(samples))
    found, originals = list(samples), {}
    last = [samples[i * len(samples) // rest] for i in range(rest)] if rest else []
    for number, again in enumerate([*[samples] * (rounds - 1), last], start=2):
        for sample in again:
            name = f"{sample.name} ({number})"
            originals[name] = sample.name
            found.append(replace(sample, name=name))
    return tuple(found), originals


@dataclass(frozen=True)
class PartCollection(WrappedCollection):
    """
    Attributes:
        originals: the original name of each repeated picture.
    """

    originals: dict[str, str] = field(default_factory=dict, kw_only=True, repr=False)

    def at_whole(self, sample: Sample) -> Sample:
        return replace(sample, name=self.originals.get(sample.name, sample.name))


EXAMPLES = (
    Part(source=Shapes(per_class=20), share=0.1, repeat=True),
    Part(source=Arrays(path="digits.npz"), noise=0.4, seed=3),
)
