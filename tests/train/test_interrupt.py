import os
import signal
import threading
from contextlib import suppress

import pytest

from paretina.system import TerminatedError
from paretina.train.interrupt import asked_to_stop

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def handlers():
    """Those that are there in a test, which a shell may have set otherwise; puts all back, whatever the test does."""
    before = [signal.getsignal(number) for number in BOTH]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield [signal.getsignal(number) for number in BOTH]
    for number, handler in zip(BOTH, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", BOTH)
def test_the_first_signal_is_noted_and_nothing_else_happens(handlers, number):
    with asked_to_stop() as stop:
        assert not stop.asked
        os.kill(os.getpid(), number)
        assert stop.asked
    assert stop.error is (TerminatedError if number == signal.SIGTERM else KeyboardInterrupt)


def test_the_second_signal_is_that_of_python(handlers):
    with asked_to_stop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert stop.asked


def test_handlers_are_put_back_also_after_an_error(handlers):
    signal.signal(signal.SIGTERM, mine := lambda number, frame: None)
    with suppress(ZeroDivisionError), asked_to_stop():
        assert signal.getsignal(signal.SIGTERM) is not mine
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) is mine
    assert signal.getsignal(signal.SIGINT) is handlers[0]


def test_outside_of_the_main_thread_signals_are_left_alone(handlers):
    seen = []

    def run():
        with asked_to_stop() as stop:
            seen.append((stop.asked, signal.getsignal(signal.SIGINT) is handlers[0]))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [(False, True)]
