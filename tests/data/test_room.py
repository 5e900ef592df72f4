import threading

import pytest

from paretina.data.room import Room

LONG = 60  # seconds after which a test gives up; none waits for it


def test_threads_take_no_more_than_there_is():
    room, most, lock = Room(10), 0, threading.Lock()

    def work():
        nonlocal most
        for count in (4, 3, 10, 1):
            with room.taken(count), lock:
                most = max(most, room.used)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert 0 < most <= 10
    assert room.used == 0


def test_those_that_fit_go_at_the_same_time():
    room, meeting = Room(10), threading.Barrier(2)

    def work():
        with room.taken(5):
            meeting.wait(LONG)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert not meeting.broken


def test_who_asks_for_more_than_there_is_has_it_alone():
    room, entered = Room(10), threading.Event()

    def large():
        with room.taken(50):
            entered.set()

    with room.taken(1):
        thread = threading.Thread(target=large)
        thread.start()
        assert not entered.wait(0.05)  # true on any machine: it cannot enter before this one leaves
    thread.join(LONG)
    assert entered.is_set()


def test_an_error_gives_back_what_was_taken():
    room = Room(10)
    with pytest.raises(ValueError, match="broken"), room.taken(10):
        raise ValueError("broken")
    assert room.used == 0
