"""Tells trackers what the log of a run says: while it is made, or of a finished one at once.

Each tracker has a thread of its own, so that a server which does not answer delays nothing. If a tracker fails, one note says
so, and the run goes on as it would without it.
"""

import contextlib
import json
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from paretina.report.records import last_attempts, log_lines, read_run
from paretina.report.tracker import Record, RecordStart, Tracker, beginning_of, final, told, trackers
from paretina.run import Run, write_aside

PATIENCE_S = 30.0
"""Seconds for which the end of a run waits for trackers that have not taken everything yet."""

FILE = "trackers.json"
"""In the directory of a run: by tracker, what finds its record again, and whether that is complete."""

LOCK = threading.Lock()

Say = Callable[[str], None]


def known_of(run: Path) -> dict[str, dict[str, Any]]:
    """The records of a run at its trackers, by word; {} where there is none, or where the file is damaged."""
    try:
        found = json.loads((run / FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {word: each for word, each in found.items() if isinstance(each, dict)} if isinstance(found, dict) else {}


def remember(run: Path, word: str, known: Mapping[str, Any], complete: bool) -> None:
    with LOCK:
        every = known_of(run) | {word: {**known, "complete": complete}}
        write_aside(run / FILE, json.dumps(every, indent=2).encode())


def unfinished(run: Path) -> tuple[str, ...]:
    """The words of the trackers that an interrupted run was told to."""
    return tuple(word for word, each in known_of(run).items() if word in trackers() and not each.get("complete"))


def without_state(known: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in known.items() if name != "complete"}


class Telling(threading.Thread):
    """Tells one tracker about one run.

    Attributes:
        error: why it failed; None so far.
        where: where to look at the record; "" until it is open.
    """

    def __init__(self, tracker: Tracker, beginning: RecordStart) -> None:
        super().__init__(name=f"paretina-{tracker.WORD}", daemon=True)
        self.tracker, self.beginning = tracker, beginning
        self.waiting: queue.SimpleQueue[Callable[[Record], None] | None] = queue.SimpleQueue()
        self.error: BaseException | None = None
        self.where = ""

    def run(self) -> None:
        try:
            record = self.tracker.open(self.beginning)
            remember(self.beginning.run, self.tracker.WORD, record.known, complete=False)
            self.where = record.where
            while (job := self.waiting.get()) is not None:
                job(record)
        except BaseException as error:  # a library may even exit; the run goes on
            self.error = error

    def end(self, state: str) -> None:
        """Has the record closed once everything before is in it."""
        path = self.beginning.run

        def close(record: Record) -> None:
            result = Run(path).result() if state == "finished" else None
            if result is not None:
                record.result(*final(result))
            record.close(state)
            remember(path, self.tracker.WORD, record.known, complete=result is not None)

        self.waiting.put(close)
        self.waiting.put(None)


class Follower:
    """Follows the log of a run, or of several one after the other."""

    def __init__(self, trackers: Sequence[Tracker], say: Say) -> None:
        self.trackers, self.say = trackers, say
        self.threads: list[Telling] = []

    def listen(self, line: dict[str, Any]) -> None:
        """Processes a line of the log; never raises because of a tracker."""
        if line["event"] == "start":
            self.end("finished")
            path = Path(line["run"])
            known = known_of(path)
            for tracker in self.trackers:
                before = known.get(tracker.WORD, {})
                old = {} if before.get("complete") else without_state(before)
                self.threads.append(Telling(tracker, beginning_of(path, old)))
                self.threads[-1].start()
            return
        for thread in self.threads:
            thread.waiting.put(lambda record, line=line: told(record, line))  # type: ignore[misc]
        self.check()

    def check(self) -> None:
        """Says once of each tracker that has failed since."""
        for thread in [each for each in self.threads if each.error is not None]:
            self.threads.remove(thread)
            error = thread.error
            what = " ".join(str(error).split())[:200] or type(error).__name__
            self.say(f"{thread.tracker.WORD} failed ({what}); the run goes on without it{later(thread)}")

    def end(self, state: str) -> None:
        """Waits until the trackers have everything, but not for longer than `PATIENCE_S` each."""
        for thread in self.threads:
            thread.end(state)
        for thread in self.threads:
            thread.join(PATIENCE_S)
        self.check()
        for thread in self.threads:
            if thread.is_alive():
                self.say(f"{thread.tracker.WORD} did not take everything within {PATIENCE_S:g} s{later(thread)}")
            else:
                self.say(f"logged to {thread.tracker.WORD}: {thread.where}")
        self.threads = []


def later(thread: Telling) -> str:
    return f"; to send the finished run: paretina report {thread.beginning.run} --log-to {thread.tracker.WORD}"


@contextlib.contextmanager
def followed(trackers: Sequence[Tracker], listen: Say | Callable[[dict[str, Any]], None], say: Say) -> Iterator[Any]:
    """A listener that calls another one, and tells trackers the same.

    Args:
        listen: called with each line of the log.
        say: called with each note about a tracker.
    """
    if not trackers:
        yield listen
        return
    follower = Follower(trackers, say)

    def both(line: dict[str, Any]) -> None:
        listen(line)  # type: ignore[arg-type]
        follower.listen(line)

    try:
        yield both
    except BaseException as error:
        follower.end("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    follower.end("finished")


def send(run: Path, tracker: Tracker) -> str:
    """Sends a finished or interrupted run to a tracker, as a record of its own; returns where that is, or was already.

    Raises:
        ValueError: it is not a run, or the tracker fails.
    """
    result = read_run(run).result
    before = known_of(run).get(tracker.WORD, {})
    if before.get("complete"):
        return "it is there already: " + ", ".join(f"{name} {value}" for name, value in without_state(before).items())
    text = (run / "log.jsonl").read_text("utf-8", "replace") if (run / "log.jsonl").is_file() else ""
    try:
        record = tracker.open(beginning_of(run, {}))
        for line in last_attempts(log_lines(text)[0]):
            told(record, line)
        if result is not None:
            record.result(*final(result))
        record.close("interrupted" if result is None else "finished")
    except Exception as error:  # each library has its own
        raise ValueError(f"{tracker.WORD} failed: {' '.join(str(error).split())[:300] or type(error).__name__}") from None
    remember(run, tracker.WORD, record.known, complete=result is not None)
    return record.where
