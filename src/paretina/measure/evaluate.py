"""From pictures to answers: the forward passes of evaluation and prediction."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from paretina.data.batch import Batch
from paretina.data.loader import LoadedBatch, evaluation_batches
from paretina.data.pictures import Pictures
from paretina.measure.judge import Judge, Tally, judge_of
from paretina.measure.plan import Plan
from paretina.model.blueprint import Preprocessing
from paretina.shapes import Logits, Loss


class Evaluation:
    """The pictures of a split as a network sees them in evaluation, each once, over all ranks.

    Keeps the prepared pictures where they take little memory, so that they are cropped and resized once in a run.

    Attributes:
        judge: what the answers are tallied by.
        loss: the loss of what learns on a batch, for judges that judge by it; None where nothing learns.
        faults: pictures that could no longer be read, as `name: reason`, each once.
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
    ) -> None:
        self.pictures = pictures
        self.plan = plan
        # whole batches in turn, the same ones whatever the number of ranks: what stands beside a picture can change last digits
        starts = range(rank * batch, len(pictures), ranks * batch)
        self.mine = [number for start in starts for number in range(start, min(start + batch, len(pictures)))]
        self.settings = (preprocessing, size, classes, batch)
        self.judge = judge or judge_of(pictures.collection.task)
        self.loss: Callable[[Batch], Loss] | None = None
        self.kept: list[LoadedBatch] | None = None
        self.faults: dict[str, None] = {}

    def batches(self, workers: int) -> Iterable[LoadedBatch]:
        if self.kept is not None:
            return self.kept
        preprocessing, size, classes, batch = self.settings
        found = evaluation_batches(self.pictures, preprocessing, size, classes, batch, workers, self.mine)
        task = self.pictures.collection.task
        if len(self.mine) * size * size * (3 + (4 * classes if task.DENSE else 0)) > self.KEEP:
            return found
        self.kept = list(found)
        return self.kept

    def run(self, network: nn.Module, workers: int = 0) -> tuple[Tensor, Tensor]:
        """Logits (float32) of this rank's pictures and their numbers in the split, in order; on the CPU.

        Pictures that can no longer be read have none; they are in `faults`.
        """
        logits, ids = [], [torch.empty(0, dtype=torch.int64)]
        for found, batch in self.answers(network, workers):
            logits.append(found.cpu())
            ids.append(batch.ids.cpu())
        return torch.cat(logits) if logits else torch.empty(0, self.settings[2]), torch.cat(ids)

    def tally(self, network: nn.Module, workers: int = 0) -> Tally:
        """What the judge keeps of the answers to this rank's pictures; those that can no longer be read are in `faults`.

        Raises:
            ValueError: the judge judges by the loss of what learns, and nothing does.
        """
        if self.judge.LOSS and self.loss is None:
            raise ValueError(
                f"{type(self.judge).__name__} judges by the loss of what learns, which only a run has; nothing is there to "
                "measure a model file by"
            )
        tally = self.judge.start(self.settings[2])
        for logits, batch in self.answers(network, workers, self.loss if self.judge.LOSS else None):
            tally.add(logits, batch.targets, batch.ids)
        return tally

    def answers(
        self, network: nn.Module, workers: int = 0, loss: Callable[[Batch], Loss] | None = None
    ) -> Iterator[tuple[Logits, Batch]]:
        """The logits of each batch, in float32, and the batch, on the device of the plan.

        Args:
            loss: what is asked instead of the network; its answer stands in the place of every logit.
        """
        training = network.training
        network.eval()
        try:
            for loaded in self.batches(workers):
                self.faults.update(dict.fromkeys(loaded.faults))
                if not len(loaded.batch):
                    continue
                batch = loaded.batch.to(self.plan.device, self.plan.torch_memory_format)
                with torch.inference_mode(), self.plan.arithmetic():
                    found = network(batch.images) if loss is None else loss(batch).expand(batch.targets.shape)
                    found = found.float()
                yield found, batch
        finally:
            network.train(training)
