"""Room: a number of bytes that threads share."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Room:
    """Lets threads take bytes as long as no more than `size` are taken together, and wait otherwise.

    Who asks for more than there is waits until nothing else is taken, and then has it alone.
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
