"""The HTTP interface: answers, limits, hostile files."""

import io
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
from fastapi.testclient import TestClient

from paretina.serve.app import Bounds, Served, application


def shares(images):
    """The more red, the more likely the first class."""
    red = images[:, 0].float().mean((1, 2)) / 255
    return torch.stack((red, 1 - red), 1)


SERVED = Served("two colours", ("red", "not red"), True, shares, lambda image: image[0].float() / 255, {"heat": True})


def png(colour=(255, 0, 0), size=(12, 8), mode="RGB"):
    data = io.BytesIO()
    PIL.Image.new(mode, size, colour).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def client():
    with TestClient(application(SERVED, Bounds(bytes=100_000, pixels=10_000, pictures=4))) as client:
        yield client


def test_classifies_a_picture(client):
    found = client.post("/predict", content=png()).json()
    assert found == {"answers": [{"class": "red", "probability": 1.0}, {"class": "not red", "probability": 0.0}]}
    assert len(client.post("/predict?top=1", content=png()).json()["answers"]) == 1
    found = client.post("/predict?heat=true", content=png()).json()
    assert found["heat"].startswith("data:image/png;base64,")


def test_a_parameter_that_would_have_no_effect_is_refused(client):
    found = client.post("/predict?tops=2", content=png())
    assert (found.status_code, found.json()) == (422, {"error": "there is no parameter 'tops'; did you mean 'top'?"})
    assert client.post("/predict/batch?heat=true", files=[("pictures", ("a.png", png()))]).status_code == 422


def test_what_finds_boxes_answers_them_for_the_picture():
    def boxes(found, size, score):
        rows, columns = size
        given = [{"class": "red", "score": 0.9, "right": columns}, {"class": "red", "score": 0.4, "bottom": rows}]
        return [box for box in given if box["score"] >= (0.3 if score is None else score)]

    with TestClient(application(replace(SERVED, heat=None, boxes=boxes), Bounds())) as client:
        found = client.post("/predict", content=png(size=(12, 8))).json()
        assert found["boxes"] == [
            {"class": "red", "score": 0.9, "right": 12},
            {"class": "red", "score": 0.4, "bottom": 8},
        ]
        assert found["objects"] == 2
        assert found["answers"] == [{"class": "red", "probability": 0.9}]
        assert client.post("/predict?score=0.5", content=png()).json()["objects"] == 1
        assert client.post("/predict?score=1", content=png()).json() == {"answers": [], "objects": 0, "boxes": []}
        assert client.post("/predict?top=1", content=png()).json()["objects"] == 1


def test_a_score_is_for_boxes(client):
    found = client.post("/predict?score=0.5", content=png())
    assert found.status_code == 422
    assert "this model finds no boxes" in found.json()["error"]


def test_classifies_several_and_names_what_it_cannot_read(client):
    files = [("pictures", ("a.png", png(), "image/png")), ("pictures", ("b.png", b"hello", "image/png"))]
    found = client.post("/predict/batch", files=files).json()["pictures"]
    assert found[0]["name"] == "a.png"
    assert found[0]["answers"][0]["class"] == "red"
    assert "b.png" in found[1]["error"]


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (b"", 400, "is empty"),
        (b"hello", 415, "not a picture"),
        (png()[:40], 415, "the picture"),
        (png(size=(200, 100)), 413, "200 x 100 pixels"),
        (bytes(200_000), 413, "at most 100,000"),
        (b"%PDF-1.4 ...", 415, "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "not a picture"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_sentence(client, content, status, says):
    found = client.post("/predict", content=content)
    assert found.status_code == status
    assert says in found.json()["error"]


@pytest.mark.parametrize("query", ["top=0", "top=x", "heat=perhaps", "top=100000"])
def test_slips_in_a_query_are_refused(client, query):
    assert client.post(f"/predict?{query}", content=png()).status_code == 422


def test_a_long_thin_picture_is_refused():
    with TestClient(application(SERVED, Bounds(side=100))) as client:
        found = client.post("/predict", content=png(size=(1, 200)))
    assert found.status_code == 413
    assert "a side may have 100" in found.json()["error"]


def test_a_bomb_is_too_large(client):
    bomb = png(0, (20_000, 20_000), "1")
    assert len(bomb) < 100_000  # so that it is not its bytes that are too many
    found = client.post("/predict", content=bomb)
    assert found.status_code == 413
    assert "has more pixels than are decoded" in found.json()["error"]


def test_a_form_may_have_more_pictures_than_wait_at_once():
    with TestClient(application(SERVED, Bounds(queue=2))) as client:
        files = [("pictures", (f"{number}.png", png(), "image/png")) for number in range(16)]
        found = client.post("/predict/batch", files=files)
    assert found.status_code == 200
    assert len(found.json()["pictures"]) == 16


def test_a_heat_map_that_takes_too_long_is_left_out():
    def slow(image):
        time.sleep(1)
        return image[0].float() / 255

    with TestClient(application(replace(SERVED, heat=slow), Bounds(seconds=0.3))) as client:
        found = client.post("/predict?heat=true", content=png())
    assert found.status_code == 200
    assert set(found.json()) == {"answers"}


def test_room_is_counted_in_pixels():
    """Pictures of 96 pixels and room for four times 100: the fifth is refused while the others are computed."""
    gate = threading.Event()

    def slow(images):
        if images.shape[-1] == 12:
            gate.wait(10)
        return shares(images)

    with (
        TestClient(application(replace(SERVED, shares=slow), Bounds(pixels=100, batch=1))) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        asked = [pool.submit(client.post, "/predict", content=png()) for _ in range(8)]
        while sum(each.done() for each in asked) < 4:
            time.sleep(0.01)
        gate.set()
        statuses = sorted(each.result().status_code for each in asked)
    assert statuses == [200] * 4 + [503] * 4


def test_forms_have_limits_too(client):
    many = [("pictures", (f"{number}.png", png(), "image/png")) for number in range(9)]
    assert client.post("/predict/batch", files=many).status_code == 413
    assert client.post("/predict/batch", content=b"x", headers={"Content-Type": "text/plain"}).status_code == 400
    assert client.post("/predict/batch", files=[("other", ("a.png", png(), "image/png"))]).status_code == 400
    large = [("pictures", ("a.png", bytes(500_000), "image/png"))]
    assert client.post("/predict/batch", files=large).status_code == 413


def test_a_body_without_a_length_is_read_only_as_far_as_it_may_be(client):
    def endless():
        for _ in range(1000):
            yield bytes(10_000)

    assert client.post("/predict", content=endless()).status_code == 413


def test_health_metrics_and_the_description(client):
    assert client.get("/healthz").text == "ok\n"
    assert client.get("/readyz").text == "ready\n"
    client.post("/predict", content=png())
    client.post("/predict", content=b"x")
    text = client.get("/metrics").text
    assert 'paretina_requests_total{path="/predict",status="200"} 1' in text
    assert 'paretina_requests_total{path="/predict",status="415"} 1' in text
    assert "paretina_pictures_total 1\n" in text
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/predict", "/predict/batch", "/healthz", "/readyz", "/metrics", "/model"}
    assert client.get("/model").json()["classes"] == ["red", "not red"]


def test_the_page_loads_nothing_from_elsewhere(client):
    page = client.get("/")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text


def test_a_full_queue_asks_to_come_again():
    gate = threading.Event()

    def slow(images):
        if images.shape[-1] == 12:
            gate.wait(10)
        return shares(images)

    with (
        TestClient(application(replace(SERVED, shares=slow), Bounds(queue=2, batch=1))) as client,
        ThreadPoolExecutor(12) as pool,
    ):
        asked = [pool.submit(client.post, "/predict", content=png()) for _ in range(12)]
        while sum(each.done() for each in asked) < 8:
            pass
        gate.set()
        found = [each.result() for each in asked]
    statuses = [each.status_code for each in found]
    assert set(statuses) == {200, 503}
    refused = next(each for each in found if each.status_code == 503)
    assert refused.headers["Retry-After"] == "1"
    assert "try again" in refused.json()["error"]


def test_an_answer_that_comes_too_late_is_told():
    gate = threading.Event()

    def slow(images):
        if images.shape[-1] == 12:
            gate.wait(10)
        return shares(images)

    with TestClient(application(replace(SERVED, shares=slow), Bounds(seconds=0.2))) as client:
        found = client.post("/predict", content=png())
        gate.set()
    assert found.status_code == 504
    assert "0.2 s" in found.json()["error"]


def mutated(generator, data):
    """The bytes with a few of them changed, cut off, or twice."""
    found = bytearray(data)
    for _ in range(generator.randint(1, 20)):
        found[generator.randrange(len(found))] = generator.randrange(256)
    how = generator.random()
    if how < 0.2:
        return bytes(found[: generator.randrange(len(found))])
    return bytes(found) * (2 if how > 0.9 else 1)


def seeds():
    rng = np.random.default_rng(0)
    picture = PIL.Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"):
        data = io.BytesIO()
        picture.save(data, kind)
        yield data.getvalue()


@pytest.mark.slow
def test_hostile_files_never_break_the_server(client):
    generator, files = random.Random(0), list(seeds())
    statuses = set()
    for _ in range(5000):
        statuses.add(client.post("/predict", content=mutated(generator, generator.choice(files))).status_code)
    assert statuses <= {200, 400, 413, 415}
    assert client.get("/readyz").status_code == 200
