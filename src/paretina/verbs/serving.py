"""Serves a model over HTTP."""

import errno
import importlib.util
import ipaddress
import math
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paretina.data.preprocess import preprocess
from paretina.measure.thresholds import USUAL
from paretina.model.blueprint import Preprocessing
from paretina.model.build import Combined
from paretina.model.fold import fastest_form
from paretina.model.preprocessing import in_words
from paretina.model.tasks.any_of import AnyOf
from paretina.model.tasks.one_of import OneOf
from paretina.ship.format import format_of
from paretina.ship.maps.occlusion import occluded
from paretina.ship.overlay import on_picture
from paretina.ship.saliency import scaled
from paretina.verbs.answering import Answering, answering
from paretina.verbs.checks import MisuseError
from paretina.verbs.predicting import LEAST, boxes_in

EXTRA = ("fastapi", "uvicorn", "multipart")
"""Modules that the extra installs."""


def check_serve(host: str, port: int) -> None:
    """Checks that a server can be made.

    Raises:
        MisuseError: the port cannot be one.
        ValueError: what it needs is not installed.
    """
    if not 0 <= port <= 65535:
        raise MisuseError(f"port is a number from 0 to 65535, got {port}")
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"serve needs {' and '.join(missing)}, not installed here: pip install 'paretina[serve]'")


def serve(
    model: Path | str,
    host: str = "127.0.0.1",
    port: int = 8000,
    trust: bool = False,
    say: Callable[[str], None] = lambda text: None,
    **limits: Any,
) -> None:
    """Serves a model until the process is told to end; SIGTERM and SIGINT answer what waits first.

    Args:
        model: a model file, the directory of a finished run, or a shipped file.
        host: address to bind to.
        port: 0 for a free one.
        trust: whether shipped files that can run code are opened.
        say: called with each note.
        limits: fields of `paretina.serve.app.Bounds`.

    Raises:
        MisuseError: there is no such model.
        ValueError: the model cannot be served, or the extra is not installed.
    """
    check_serve(host, port)
    if not math.isfinite(limits.get("seconds", 1.0)):
        raise MisuseError(f"timeout is a number of seconds, got {limits['seconds']}")
    with bound(host, port) as listening:
        import uvicorn

        from paretina.serve.app import Bounds, application

        opened = answering(model, trust)
        app = application(served_of(opened), Bounds(**limits))
        if not is_loopback(host):
            say(f"{host} can be reached from other machines, and whoever reaches it can use the model; there is no password")
        config = uvicorn.Config(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=30, lifespan="on")
        config.limit_concurrency = CONNECTIONS
        server = uvicorn.Server(config)
        announced(server, say, host, listening.getsockname()[1])
        before = signal.signal(signal.SIGTERM, lambda *_: None)  # the server raises it once more when it has ended
        try:
            server.run(sockets=[listening])
        except KeyboardInterrupt:  # likewise
            say("ended")
        finally:
            signal.signal(signal.SIGTERM, before)


CONNECTIONS = 256
"""Connections at the same time; further ones get 503."""


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there, before anything is loaded.

    Raises:
        MisuseError: the address is none of this machine's, or the port is in use.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise MisuseError(f"--host {host} is not an address of this machine") from None
    found = socket.socket(family, kind, protocol)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(place)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise MisuseError(f"port {port} is in use; take another one with --port, or --port 0 for a free one") from None
        raise MisuseError(f"cannot listen on {host}, port {port}: {error.strerror}") from None
    return found


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def announced(server: Any, say: Callable[[str], None], host: str, port: int) -> None:
    """Says where a server listens once it does."""
    begin = server.startup

    async def startup(*args: Any, **kwargs: Any) -> None:
        await begin(*args, **kwargs)
        shown = f"[{host}]" if ":" in host else host
        say(f"serving on http://{shown}:{port}/ (the page), POST /predict, /openapi.json, /metrics; Ctrl-C ends it")

    server.startup = startup


def served_of(opened: Answering) -> Any:
    """What the application needs of a model.

    Raises:
        ValueError: it neither classifies whole pictures nor finds boxes.
    """
    from paretina.serve.app import Served

    about = opened.about
    if not (isinstance(about.task, OneOf | AnyOf) or about.task.BOXES):
        raise ValueError(
            f"the task of {opened.path} is {about.task.WORDS}; serve is for classes of whole pictures and for boxes of objects"
        )
    shares = by_network(opened) if opened.running is None else opened.running.run
    heat = None
    if isinstance(about.task, OneOf):
        mapped = opened.network is not None and not isinstance(opened.network, Combined)
        heat = by_map(opened) if mapped else by_occlusion(shares)
    format = format_of(opened.path)
    limits = about.thresholds or (USUAL,) * len(about.classes)
    return Served(
        about.called(opened.path),
        about.classes,
        isinstance(about.task, OneOf),
        shares,
        heat,
        {
            "preprocessing": in_words(opened.preprocessing, opened.resolution),
            "licence": about.licence,
            "origin": about.origin,
            "metrics": about.metrics,
            "runtime": opened.runtime,
            "format": format.NAME if format else "paretina",
            "heat": heat is not None,
            **({"thresholds": list(limits)} if isinstance(about.task, AnyOf) else {}),
        },
        limits,
        by_boxes(opened) if about.task.BOXES else None,
    )


def by_boxes(opened: Answering) -> Callable[[Tensor, tuple[int, int], float | None], list[dict[str, Any]]]:
    """The boxes in an answer for a picture, as `predict` gives them."""

    def boxes(found: Tensor, size: tuple[int, int], score: float | None) -> list[dict[str, Any]]:
        (answer,) = opened.about.task.answer(found[None])
        return [box.to_dict() for box in boxes_in(answer, size, opened, LEAST if score is None else score)]

    return boxes


def by_network(opened: Answering) -> Callable[[Tensor], Tensor]:
    """Probabilities by a network in torch."""
    assert opened.network is not None
    model, task = opened.network.model, opened.about.task
    quick = fastest_form(opened.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def shares(images: Tensor) -> Tensor:
        with torch.inference_mode():
            small = preprocess(images, model.preprocessing, model.resolution)
            return task.probabilities(quick(small.contiguous(memory_format=torch.channels_last)))

    return shares


def by_map(opened: Answering) -> Callable[[Tensor], Tensor]:
    """Where a network looks for its answer, at the size of the picture."""
    network = opened.network
    assert network is not None
    from paretina.verbs.explaining import saliency_for

    saliency, model = saliency_for(opened, None), network.model

    def heat(image: Tensor) -> Tensor:
        small = preprocess(image, model.preprocessing, model.resolution)[None]
        with torch.no_grad():
            number = network(small).argmax(1)
        found = scaled(saliency.maps(network, small, number))[0]
        return on_picture(found, image.shape[1], image.shape[2], model.preprocessing)

    return heat


def by_occlusion(shares: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """How far the answer's probability falls where a part of the picture is covered, at the size of the picture."""
    whole = Preprocessing(crop=1.0, fit="squash")

    def heat(image: Tensor) -> Tensor:
        number = shares(image[None]).argmax(1)
        found = scaled(occluded(shares, image[None], number))[0]
        return on_picture(found, image.shape[1], image.shape[2], whole)

    return heat
