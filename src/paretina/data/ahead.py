"""Sends batches to a GPU while it still computes with those before them.

The pictures stay bytes on their way, in memory that the system keeps in place, and go by a stream of their own; transforms of
whole batches are made there. Since nothing in an update waits for the device, the host asks for the next batch while the last
one is still computed with, and the copy takes place meanwhile. Elsewhere a batch is simply moved.
"""

import torch

from paretina.data.batch import Batch


class Ahead:
    """
    Attributes:
        stream: that the copies go by; None where the device is no GPU.
    """

    def __init__(self, device: torch.device | str, memory_format: torch.memory_format = torch.contiguous_format) -> None:
        self.device = torch.device(device)
        self.memory_format = memory_format
        self.stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    def __call__(self, batch: Batch) -> Batch:
        """The batch on the device; what is computed with it on the current stream waits there, and the host does not."""
        if self.stream is None:
            return batch.to(self.device, self.memory_format)
        with torch.cuda.stream(self.stream):
            sent = batch.to(self.device, self.memory_format)
        here = torch.cuda.current_stream(self.device)
        here.wait_stream(self.stream)
        for tensor in (*sent.views, sent.targets, sent.ids):
            tensor.record_stream(here)  # so that its memory is not used anew by the other stream before that is done
        return sent
