import threading

from paretina.data.remarks import remark, remarks_heard, told


def test_are_heard_by_the_thread_that_listens_only():
    remark("nobody listens")
    with remarks_heard() as outer:
        remark("one")
        with remarks_heard() as inner:
            remark("two")
        thread = threading.Thread(target=remark, args=["elsewhere"])
        thread.start()
        thread.join()
        remark("three")
    assert (outer, inner) == (["one", "three"], ["two"])


def test_the_same_of_several_pictures_is_one_sentence():
    assert told({}) == []
    found = told({"a.png": "dark", "b.png": "dark", "c.jpg": "odd", "d.png": "dark"})
    assert found == ["a.png and 2 other pictures: dark", "c.jpg: odd"]
    assert told({"a": "dark", "b": "dark"}) == ["a and 1 other picture: dark"]
