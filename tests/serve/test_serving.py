"""A server that is refused leaves nothing behind."""

import socket

import pytest

from paretina import verbs
from paretina.verbs import serving
from paretina.verbs.checks import MisuseError


def test_a_model_that_cannot_be_served_gives_its_port_back(tmp_path, monkeypatch):
    taken, bound = [], serving.bound
    monkeypatch.setattr(serving, "bound", lambda *place: taken.append(bound(*place)) or taken[-1])
    with pytest.raises(MisuseError, match="there is no model file"):
        verbs.serve(tmp_path / "no.safetensors", port=0)
    assert [each.fileno() for each in taken] == [-1]


def test_a_port_in_use_is_said_before_the_model_is_opened(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(MisuseError, match=r"port \d+ is in use; take another one with --port"):
            verbs.serve(tmp_path / "no.safetensors", port=other.getsockname()[1])
