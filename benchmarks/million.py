"""What it costs to open a data set of a million pictures: a table, a table with each file looked for, shards, and a folder.

    python benchmarks/million.py
    python benchmarks/million.py --count 100000 --ways table,shards

Each way opens names only, in a process of its own: the first time, and again with what the first left in the cache. The figures
are seconds of processor time, seconds of the clock, and by how much the memory of the process grew at most, without what
importing torch takes. Files are empty; the members of shards are a few bytes each.
"""

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

WAYS = ("table", "soft", "files", "shards", "folder")
CLASSES = 1000
SHARD = 10_000
"""Pictures of a shard."""


def names(count: int) -> list[tuple[str, str, str]]:
    """Path, class and split of each picture."""
    found = []
    for number in range(count):
        kind = f"class_{number % CLASSES:04d}"
        found.append((f"{kind}/picture_{number:07d}.jpg", kind, "val" if number // CLASSES % 20 == 0 else "train"))
    return found


def make(way: str, place: Path, count: int) -> str:
    """Writes the data of a way; returns what names it."""
    place.mkdir()
    if way in ("table", "files"):
        with (place / "photos.csv").open("w") as file:
            file.write("path,label,split\n")
            file.writelines(",".join(row) + "\n" for row in names(count))
        if way == "files":
            touch(place, [path for path, *_ in names(count)])
        return str(place / "photos.csv")
    if way == "soft":
        with (place / "photos.csv").open("w") as file:
            file.write("path,split,weight,a,b,c\n")
            file.writelines(f"{path},{split},{1 + i % 3},0.2,0.3,0.5\n" for i, (path, _, split) in enumerate(names(count)))
        return str(place / "photos.csv")
    if way == "shards":
        for number in range(-(-count // SHARD)):
            with tarfile.open(place / f"{'val' if number % 20 == 0 else 'train'}-{number:06d}.tar", "w") as archive:
                for each in range(number * SHARD, min(count, (number + 1) * SHARD)):
                    for ending, data in (("jpg", b"x"), ("cls", str(each % CLASSES).encode())):
                        member = tarfile.TarInfo(f"{each:07d}.{ending}")
                        member.size = len(data)
                        archive.addfile(member, io.BytesIO(data))
        return str(place)
    touch(place, [f"{split}/{path}" for path, _, split in names(count)])
    return str(place)


def touch(place: Path, paths: list[str]) -> None:
    """Makes empty files."""
    for folder in {os.path.dirname(path) for path in paths}:
        (place / folder).mkdir(parents=True, exist_ok=True)
    for path in paths:
        os.close(os.open(place / path, os.O_CREAT | os.O_WRONLY))


def opened(way: str, data: str) -> dict[str, float]:
    """Opens it in this process."""
    from dataclasses import replace

    from paretina.data.named import source_named
    from paretina.data.sources.table import Table

    source = source_named(data)
    if isinstance(source, Table) and way != "files":
        source = replace(source, check_files=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, processor = time.perf_counter(), time.process_time()
    found = source.open()
    clock, processor = time.perf_counter() - start, time.process_time() - processor
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"processor_s": processor, "s": clock, "mb": grown, "pictures": sum(map(len, found.splits.values()))}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000, help="pictures")
    parser.add_argument(
        "--ways", default="table,soft,files,shards", help=f"of {', '.join(WAYS)}; the last two write many files"
    )
    parser.add_argument("--open", nargs=2, metavar=("WAY", "DATA"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.open:
        print(json.dumps(opened(*given.open)))
        return
    print(f"{'way':<8}{'':>8}{'processor s':>13}{'s':>8}{'MB':>7}{'pictures':>11}")
    for way in given.ways.split(","):
        with tempfile.TemporaryDirectory() as folder:
            data = make(way, Path(folder, "data"), given.count)
            for turn in ("first", "again"):
                environment = {**os.environ, "PARETINA_CACHE": os.path.join(folder, "cache")}
                command = [sys.executable, __file__, "--open", way, data]
                output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
                row = json.loads(output)
                print(
                    f"{way:<8}{turn:>8}{row['processor_s']:>13.1f}{row['s']:>8.1f}{row['mb']:>7.0f}{row['pictures']:>11,.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
