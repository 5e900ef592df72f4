"""What happens to a run from outside, in one sentence that says how to go on.

A disk that fills, a folder of pictures that vanishes, a process of the loader that is killed, and a run directory that is
removed are neither mistakes in the request nor bugs; the last checkpoint is whole, and the run continues from it.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from paretina.data.decode import DecodeError
from paretina.run import Run, resumed_by
from paretina.system import lost_worker

FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""No room on the disk, in the largest file that is allowed, or in what the user may have."""


LOST_RANK = re.compile(r"gloo/transport|ncclRemoteError|ncclSystemError|Connection (?:closed|reset) by peer|Broken pipe")
"""What torch says where another process of the job can no longer be reached."""


class AccidentError(OSError):
    """A run was stopped from outside; the text is a sentence.

    Attributes:
        says_how: that it says how to go on, so that nothing has to be added.
    """

    says_how = True


def accident(error: Exception, run: Run) -> str:
    """What happened to a run; "" if it was no accident."""
    if not (run.path / "asked.json").is_file():
        gone = isinstance(error, OSError) and not isinstance(error, AccidentError)
        return f"the directory of the run, {run.path}, was removed or moved while the run went on" if gone else ""
    if isinstance(error, AccidentError | DecodeError):
        return str(error)
    if killed := lost_worker(error):
        return killed
    if isinstance(error, RuntimeError) and LOST_RANK.search(str(error)):
        return "another process of this job ended, and says why, unless it was killed"
    if isinstance(error, OSError) and error.errno is not None:
        where = str(run.path if error.filename is None else error.filename)
        if error.errno in FULL:
            return f"there is no room left to write {where}: {error.strerror}"
        return f"{where} cannot be used any more: {error.strerror}"
    return ""


def advice(error: Exception, run: Run) -> str:
    """How to go on after it."""
    command = resumed_by(run.path)
    if not (run.path / "asked.json").is_file():
        return f"if it was moved, go on with: {resumed_by(run.path, 'ITS-PLACE')}; if it was removed, start anew"
    if isinstance(error, AccidentError | DecodeError):
        before = "put the pictures back as they were, then "
    elif isinstance(error, RuntimeError):
        before = ""
    else:
        before = "make room, then " if isinstance(error, OSError) and error.errno in FULL else "mend that, then "
    return f"{before}go on with: {command} ({run.point()})"


@contextmanager
def accidents_named(run: Run) -> Iterator[None]:
    """Turns what happens to a run from outside into an error that says so.

    Raises:
        AccidentError: it was stopped by an accident.
    """
    try:
        yield
    except Exception as error:
        said = accident(error, run)
        if not said:
            raise
        raise AccidentError(f"{said}; {advice(error, run)}") from error
