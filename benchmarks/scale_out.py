"""Far beyond one machine, simulated: the order of 300 million samples over 1,024 processes, restarts, and what such sizes take.

    python benchmarks/scale_out.py                       # the simulation, and the table of sizes from what is measured here
    python benchmarks/scale_out.py --samples 14000000 --ranks 64 --no-table

The simulation has numbers only, no pictures. It walks through a whole epoch and marks every sample: none may be missing or come
twice. At updates drawn at random it puts together what the processes would be given, for the number of processes asked for,
for half and for a quarter of them, as after a restart with fewer machines: each time the same samples in the same order. And it
measures how long a process takes to find its next batch when it starts in the middle of an epoch, and its memory.

The table of `docs/scale.md` follows from what is measured here: decoding JPEG files of 500 x 375 for 160 pixels on one core, by
processor time, which other work on the machine disturbs little; and bytes. Training rates of a GPU are given, not measured.
"""

import argparse
import io
import resource
import statistics
import time

import numpy as np
import PIL.Image

from paretina.data.decode import decode
from paretina.data.sampler import Epochs, seed_of
from paretina.measure.plan import machine
from paretina.schedules import Constant


def walked(epochs: Epochs) -> tuple[int, float]:
    """Samples that come in the first epoch, and the seconds that all of its updates took.

    An epoch has as many places as samples, so if all come, none comes twice.
    """
    began = time.perf_counter()
    seen = np.zeros(epochs.samples, bool)
    order = epochs.shuffled(seed_of(epochs.seed, 0), 0)
    for low in range(0, epochs.updates_per_epoch, 64):
        last = min(low + 64, epochs.updates_per_epoch) - 1
        here = order[slice(epochs.places(low).start, epochs.places(last).stop)]
        seen[here] = True
    return int(seen.sum()), time.perf_counter() - began


def given(epochs: Epochs, update: int, ranks: int, rank: int) -> list[tuple[int, int]]:
    """The samples and seeds that a process gets at an update."""
    requests = next(epochs.requests(Constant(value=64.0), update, ranks, slice(rank, rank + 1)))
    return [(request.index, request.seed) for request in requests]


def restarted(epochs: Epochs, ranks: int, updates: list[int]) -> int:
    """Updates at which any number of processes gets the same samples with the same seeds, in the same order."""
    same = 0
    for update in updates:
        whole = given(epochs, update, 1, 0)
        parts = []
        for count in (ranks, ranks // 2, ranks // 4):
            for rank in sorted({0, 1, count // 3, count - 1}):
                parts.append(given(epochs, update, count, rank) == whole[cut(len(whole), count, rank)])
        same += all(parts)
    return same


def cut(samples: int, count: int, rank: int) -> slice:
    """The places of a part, of parts that differ in length by one at most."""
    ends = np.cumsum([0, *(len(part) for part in np.array_split(np.empty(samples, np.int8), count))])
    return slice(int(ends[rank]), int(ends[rank + 1]))


def photo() -> bytes:
    """A picture with the statistics of photos: noise whose spectrum falls with the frequency."""
    random = np.random.default_rng(0)
    rows, columns = 375, 500
    falls = 1 / np.maximum(1, np.hypot(np.fft.fftfreq(rows)[:, None] * rows, np.fft.fftfreq(columns) * columns))
    planes = [np.fft.ifft2(np.fft.fft2(random.normal(size=(rows, columns))) * falls).real for _ in range(3)]
    pixels = np.stack(planes, 2)
    pixels = (pixels - pixels.mean()) / pixels.std() * 55 + 120
    file = io.BytesIO()
    PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def decoding(seconds: float) -> tuple[float, int]:
    """Pictures a second of processor time that are decoded for training at 160 pixels, and the bytes of one."""
    data = photo()
    rates = []
    for _ in range(5):
        began, count = time.process_time(), 0
        while time.process_time() - began < seconds / 5:
            decode(data, "photo.jpg", 160)
            count += 1
        rates.append(count / (time.process_time() - began))
    return statistics.median(rates), len(data)


def table(rate: float, size: int, gpu: float, epochs: int, gpus: int) -> None:
    """What 1, 14 and 300 million pictures take."""
    shards, hours = "tar shards of 1 GB", f"hours for {epochs} epochs on {gpus} GPUs"
    print(f"\n| pictures | JPEG files | decoded at 160 pixels | {shards} | {hours} | cores a GPU |")
    print("|---|---|---|---|---|---|")
    for count in (1_281_167, 14_197_122, 300_000_000):
        hours = count * epochs / (gpu * gpus) / 3600
        print(
            f"| {count:,} | {count * size / 1e12:.2f} TB | {count * 3 * 160 * 160 / 1e12:.2f} TB | {count * size / 1e9:,.0f} | "
            f"{hours:,.1f} | {gpu / rate:.1f} |"
        )
    print(
        f"\nOne core decodes {rate:,.0f} pictures a second of {size:,} bytes each; a GPU is taken to train {gpu:,.0f} a second."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=300_000_000)
    parser.add_argument("--ranks", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=65_536, help="of an update, over all processes")
    parser.add_argument("--updates", type=int, default=20, help="at which parts are put together")
    parser.add_argument("--gpu", type=float, default=2500.0, help="pictures that a GPU trains a second at 160 pixels")
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=18, help="of the table")
    parser.add_argument("--seconds", type=float, default=5.0, help="of timing")
    parser.add_argument("--no-table", action="store_true")
    options = parser.parse_args()
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores")
    epochs = Epochs(options.samples, options.batch, 3.0, 0)
    began = time.perf_counter()
    update = epochs.updates_per_epoch * 5 // 3  # in the middle of the second epoch
    first = given(epochs, update, options.ranks, options.ranks // 2)
    took, memory = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"a process of {options.ranks:,} starts at update {update:,} and has its {len(first)} samples after {took:.2f} s",
        end="",
    )
    print(f", with {memory:,.0f} MB")
    random = np.random.default_rng(1)
    updates = sorted(int(each) for each in random.integers(0, epochs.updates, options.updates))
    same = restarted(epochs, options.ranks, updates)
    counts = f"{options.ranks:,}, {options.ranks // 2:,} and {options.ranks // 4:,} processes"
    print(f"{same} of {len(updates)} updates give {counts} the same samples and seeds")
    came, walk = walked(epochs)
    print(
        f"{came:,} of {epochs.samples:,} samples come in the {epochs.samples:,} places of an epoch; looked at in {walk:.0f} s"
    )
    if same < len(updates) or came < epochs.samples:
        raise SystemExit(1)
    if not options.no_table:
        table(*decoding(options.seconds), options.gpu, options.epochs, options.gpus)


if __name__ == "__main__":
    main()
