"""From pictures to answers: the forward passes of evaluation and prediction."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from paretina.data.loader import Loaded, evaluation_batches
from paretina.data.pictures import Pictures
from paretina.measure.plan import Plan
from paretina.model.blueprint import Preprocessing


class Evaluation:
    """The pictures of a split as a network sees them in evaluation, each once, over all ranks.

    Keeps the prepared pictures where they take little memory, so that they are cropped and resized once in a run.

    Attributes:
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
    ) -> None:
        self.pictures = pictures
        self.plan = plan
        # whole batches in turn, the same ones whatever the number of ranks: what stands beside a picture can change last digits
        starts = range(rank * batch, len(pictures), ranks * batch)
        self.mine = [number for start in starts for number in range(start, min(start + batch, len(pictures)))]
        self.settings = (preprocessing, size, classes, batch)
        self.kept: list[Loaded] | None = None
        self.faults: dict[str, None] = {}

    def batches(self, workers: int) -> Iterable[Loaded]:
        if self.kept is not None:
            return self.kept
        preprocessing, size, classes, batch = self.settings
        found = evaluation_batches(self.pictures, preprocessing, size, classes, batch, workers, self.mine)
        if len(self.mine) * 3 * size * size > self.KEEP:
            return found
        self.kept = list(found)
        return self.kept

    def run(self, network: nn.Module, workers: int = 0) -> tuple[Tensor, Tensor]:
        """Logits (float32) of this rank's pictures and their numbers in the split, in order; on the CPU.

        Pictures that can no longer be read have none; they are in `faults`.
        """
        logits, ids = [torch.empty(0, self.settings[2])], [torch.empty(0, dtype=torch.int64)]
        training = network.training
        network.eval()
        with torch.inference_mode():
            for loaded in self.batches(workers):
                self.faults.update(dict.fromkeys(loaded.faults))
                if not len(loaded.batch):
                    continue
                batch = loaded.batch.to(self.plan.device, self.plan.torch_memory_format)
                with self.plan.arithmetic():
                    logits.append(network(batch.images).float().cpu())
                ids.append(loaded.batch.ids)
        network.train(training)
        return torch.cat(logits), torch.cat(ids)


def joined(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The logits of all ranks in the order of the split."""
    logits, ids = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    order = ids.argsort()
    return logits[order], ids[order]


def quick_figures(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Loss, top-1 and (from five classes on) top-5 in percent, without intervals: what a progress line shows."""
    figures: dict[str, Any] = {
        "loss": torch.nn.functional.cross_entropy(logits, labels).item(),
        "top1": 100.0 * (logits.argmax(1) == labels).float().mean().item(),
    }
    if logits.shape[1] >= 5:
        top5 = logits.topk(5, dim=1).indices
        figures["top5"] = 100.0 * (top5 == labels[:, None]).any(1).float().mean().item()
    return figures
