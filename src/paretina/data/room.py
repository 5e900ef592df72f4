"""A memory budget shared by threads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Room:
    """Lets threads reserve bytes up to a total of `size`, and wait otherwise.

    A thread that requests more than `size` waits until nothing is reserved, and then has the budget to itself.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0
        self.changed = threading.Condition()

    @contextmanager
    def taken(self, count: int) -> Iterator[None]:
        with self.changed:
            self.changed.wait_for(lambda: self.used == 0 or self.used + count <= self.size)
            self.used += count
        try:
            yield
        finally:
            with self.changed:
                self.used -= count
                self.changed.notify_all()
