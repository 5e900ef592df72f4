"""Nothing that shipping calls phones home."""

import os

import pytest
import torch

from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import About
from paretina.ship.export import SILENT, quiet
from paretina.ship.format import format_named
from paretina.ship.header import Header
from paretina.ship.steps import in_inference_form
from paretina.ship.whole import Whole
from tiny import row, tiny_blueprint


@pytest.mark.slow
def test_openvino_sends_nothing(tmp_path, monkeypatch):
    from openvino_telemetry.utils.sender import TelemetrySender

    sent = []
    monkeypatch.setattr(TelemetrySender, "send", lambda self, *args, **kwargs: sent.append(args))
    for name in SILENT:
        monkeypatch.delenv(name, raising=False)
    network = tiny_blueprint(row(1, 8, 2), resolution=16, classes=3).build().eval()
    model = network.model
    header = Header(About(("a", "b", "c")), model.preprocessing, 16, 3, "float32")
    format = format_named("openvino")
    format.write(Whole(in_inference_form(network)[0], OneOf()), tmp_path / "a.ovz", header)
    format.open(tmp_path / "a.ovz").run(torch.zeros(1, 3, 9, 9, dtype=torch.uint8))
    assert sent == []
    assert not set(SILENT) & set(os.environ)


def test_the_environment_is_as_before(monkeypatch):
    monkeypatch.setenv("CI", "false")
    monkeypatch.delenv("NNCF_CI", raising=False)
    with quiet():
        assert os.environ["CI"] == "true"
    assert os.environ["CI"] == "false"
    assert "NNCF_CI" not in os.environ
