"""Runs the forward passes of evaluation and prediction."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from paretina.data.batch import Batch
from paretina.data.decode import DecodeError
from paretina.data.loader import LoadedBatch, evaluation_batches, seen_by_network
from paretina.data.pictures import Pictures
from paretina.measure.judge import Judge, Tally, judge_of
from paretina.measure.plan import Plan
from paretina.model.assemblies.route import Router
from paretina.model.blueprint import Preprocessing
from paretina.model.build import Network
from paretina.model.fold import fastest_form
from paretina.shapes import Image, Logits, Loss
from paretina.torch_internals import is_compiled


class Evaluation:
    """Evaluates a network on the pictures of a split, each once, over all ranks.

    Caches the preprocessed pictures if they take little memory, so that they are cropped and resized once in a run.

    Attributes:
        judge: computes the metrics.
        mine: numbers of the pictures of this rank in the split.
        loss: the training loss on a batch, for judges that use it; None outside of training.
        faults: pictures that could no longer be read, as `name: reason`, each once.
        changed: files that are not as they were when they were first read, as `path: what`, each once.
        routes: of a network that chooses its image size, the number of the size of each picture in the last pass, in order.
    """

    KEEP = 1 << 29

    def __init__(
        self,
        pictures: Pictures,
        preprocessing: Preprocessing,
        size: int,
        classes: int,
        plan: Plan,
        rank: int = 0,
        ranks: int = 1,
        batch: int = 128,
        judge: Judge | None = None,
        some: Sequence[int] | None = None,
    ) -> None:
        numbers = range(len(pictures)) if some is None else some
        self.pictures = pictures
        self.plan = plan
        # whole batches in turn, the same for any number of ranks: the other pictures of a batch can change the last digits
        starts = range(rank * batch, len(numbers), ranks * batch)
        self.mine = [number for start in starts for number in numbers[start : start + batch]]
        self.settings = (preprocessing, size, classes, batch)
        self.judge = judge or judge_of(pictures.collection.task)
        self.loss: Callable[[Batch], Loss] | None = None
        self.kept: list[LoadedBatch] | None = None
        self.faults: dict[str, None] = {}
        self.changed: dict[str, None] = {}
        self.routes: list[Tensor] = []

    def batches(self, workers: int) -> Iterable[LoadedBatch]:
        if self.kept is not None:
            return self.kept
        preprocessing, size, classes, batch = self.settings
        found = evaluation_batches(self.pictures, preprocessing, size, classes, batch, workers, self.mine)
        task = self.pictures.collection.task
        if len(self.mine) * (3 * size * size + 4 * classes * math.prod(task.places(size))) > self.KEEP:
            return found
        self.kept = list(found)
        return self.kept

    def run(self, network: nn.Module, workers: int = 0) -> tuple[Tensor, Tensor]:
        """Returns the logits (float32) of this rank's pictures and their indices in the split, in order; on the CPU.

        Pictures that can no longer be read have none; they are in `faults`.
        """
        logits, ids = [], [torch.empty(0, dtype=torch.int64)]
        for found, batch in self.answers(network, workers):
            logits.append(found.cpu())
            ids.append(batch.ids.cpu())
        return torch.cat(logits) if logits else torch.empty(0, self.settings[2]), torch.cat(ids)

    def taken(self, sizes: int) -> tuple[int, ...]:
        """How many pictures of the last pass took each of so many sizes."""
        return tuple(torch.bincount(torch.cat(self.routes), minlength=sizes).tolist()) if self.routes else (0,) * sizes

    def tally(self, network: nn.Module, workers: int = 0) -> Tally:
        """Returns the judge's tally for this rank's pictures; those that can no longer be read are in `faults`.

        Raises:
            ValueError: the judge uses the training loss, and there is none.
        """
        if self.judge.LOSS and self.loss is None:
            raise ValueError(
                f"{type(self.judge).__name__} uses the training loss, which only a run has; a model file cannot be "
                "measured by it"
            )
        tally = self.started()
        for logits, batch in self.answers(network, workers, self.loss if self.judge.LOSS else None):
            tally.add(logits, batch.targets, batch.ids)
        return tally

    def started(self) -> Tally:
        """The judge's tally, without a picture."""
        tally = self.judge.start(self.settings[2])
        tally.sized(self.settings[1])
        task = self.pictures.collection.task
        if task.DENSE or task.BOXES:
            tally.prepare(len(self.pictures), self.seen)
        return tally

    def seen(self, number: int) -> tuple[Image, Tensor] | None:
        """A picture as the network sees it and the label of its pixels; None where it cannot be read any more."""
        try:
            return seen_by_network(self.pictures, number, *self.settings[:2])
        except DecodeError:
            return None

    def answers(
        self, network: nn.Module, workers: int = 0, loss: Callable[[Batch], Loss] | None = None
    ) -> Iterator[tuple[Logits, Batch]]:
        """Yields the float32 logits of each batch and the batch, on the plan's device.

        Args:
            loss: called instead of the network; its value takes the place of every logit.
        """
        training = network.training
        network.eval()
        self.routes.clear()
        form = network
        if loss is None and isinstance(network, Network) and not is_compiled(network) and self.plan.precision == "float32":
            form = fastest_form(network)  # which answers the same up to rounding
        try:
            for loaded in self.batches(workers):
                self.faults.update(dict.fromkeys(loaded.faults))
                self.changed.update(dict.fromkeys(loaded.changed))
                if not len(loaded.batch):
                    continue
                batch = loaded.batch.to(self.plan.device, self.plan.torch_memory_format)
                with torch.inference_mode(), self.plan.arithmetic():
                    if loss is not None:
                        found = loss(batch).expand(batch.targets.shape)
                    elif isinstance(form, Router):
                        found, said = form(batch.images, extras=True)
                        self.routes.append(said["routes"].cpu())
                    else:
                        found = form(batch.images)
                    found = found.float()
                yield found, batch
        finally:
            network.train(training)
