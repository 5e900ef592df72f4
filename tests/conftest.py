"""In tests every annotation of a tensor is checked, one thread keeps small tensors fast, no plan is remembered, and the machine
is quiet.

The caches of hubs are empty: what this machine has downloaded must not decide what a run starts from.
"""

import dataclasses
import functools
import gc
import inspect
import logging
import os
import random
import tempfile
import typing
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
from jaxtyping import AbstractArray, config, install_import_hook

JAXTYPED = jaxtyping.jaxtyped
SHAPES = JAXTYPED("context")
INNER = set()


def within(annotation):
    """An annotation and all in it, but for the values of a literal."""
    yield annotation
    if typing.get_origin(annotation) is not typing.Literal:
        for inner in annotation if isinstance(annotation, list | tuple) else typing.get_args(annotation):
            yield from within(inner)


def is_shape(annotation):
    return inspect.isclass(annotation) and issubclass(annotation, AbstractArray)


def when_called(function, check):
    """The function with its checks, which take milliseconds to make: few of the thousands of functions are called by a test."""
    made = []

    @functools.wraps(function)
    def called(*positional, **named):
        if config.jaxtyping_disable:
            return function(*positional, **named)
        if not made:
            made.append(check(function))
        return made[0](*positional, **named)

    return called


def shaped(function, typechecker):
    """Axes are compared over all arguments and the result, which are checked once; jaxtyping checks the arguments twice."""
    checked = typechecker(function)

    def compared(*positional, **named):
        with SHAPES:
            return checked(*positional, **named)

    return compared


def jaxtyped(thing, typechecker):
    """Functions without a shape have no axes to compare, so the plain type checker does, which takes a fraction of the time."""
    if inspect.isclass(thing):
        if dataclasses.is_dataclass(thing) and "__init__" in vars(thing):
            thing.__init__ = jaxtyped(thing.__init__, typechecker)
        return thing
    if not inspect.isfunction(thing):
        return JAXTYPED(thing, typechecker=typechecker)
    annotations = [each for annotation in thing.__annotations__.values() for each in within(annotation)]
    if any(isinstance(each, str) for each in annotations):  # of a name that jaxtyping looks up, or leaves
        return when_called(thing, functools.partial(JAXTYPED, typechecker=typechecker))
    if any(is_shape(each) for each in annotations):
        check = JAXTYPED if inspect.isgeneratorfunction(thing) else shaped
        return when_called(thing, functools.partial(check, typechecker=typechecker))
    if "<locals>" in thing.__qualname__:
        # a function in a function is made at each call of the outer one, often thousands of times; the first is checked
        if thing.__code__ in INNER:
            return thing
        INNER.add(thing.__code__)
    return when_called(thing, typechecker)


jaxtyping.jaxtyped = lambda *, typechecker: functools.partial(jaxtyped, typechecker=typechecker)
install_import_hook("paretina", "beartype.beartype")

import torch  # noqa: E402

torch.set_num_threads(1)

os.environ["PARETINA_CACHE"] = tempfile.mkdtemp()
os.environ["HF_HUB_CACHE"] = os.environ["TORCH_HOME"] = tempfile.mkdtemp()

from paretina import system  # noqa: E402
from paretina.measure import pace  # noqa: E402
from paretina.search import auto  # noqa: E402

EXPORT = torch.export.export


def untyped_export(*args, **kwargs):
    """A tracer's shapes are no numbers, and comparing them with others would fix them."""
    config.update("jaxtyping_disable", True)
    try:
        return EXPORT(*args, **kwargs)
    finally:
        config.update("jaxtyping_disable", False)


torch.export.export = untyped_export

BUSY_SECONDS = system.busy_seconds


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch):
    """Whatever else runs here meanwhile, nothing says that the machine is busy; no test may depend on that."""
    monkeypatch.setattr(system, "process_seconds", lambda: 0.0)  # a limit of time counts from the test, not from the first one
    monkeypatch.setattr(system, "busy_seconds", lambda root=system.ROOT: 0.0 if root == system.ROOT else BUSY_SECONDS(root))


@pytest.fixture(autouse=True)
def same_chance():
    """Each test draws the same numbers, whichever ran before it in its process."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def known_pace(monkeypatch, request):
    """All networks are equally fast, and fine-tuning that is chosen makes few updates, so that a choice takes no time.

    Tests of the pace and of the choice themselves are as it is.
    """
    if request.path.name != "test_pace.py":
        monkeypatch.setattr(pace, "measured", lambda model, side, *_: pace.NetworkPace(train_s=1e-3, infer_s=3e-4, side=side))
    if request.path.name != "test_auto.py":
        monkeypatch.setattr(auto, "MOST_PASSES", 1.0)
        monkeypatch.setattr(auto, "MOST_UPDATES", 2)


# pytest's own plugin would put a handler on each of hundreds of loggers three times a test; what loggers say is printed nowhere
logging.root.addHandler(logging.NullHandler())
logging.lastResort = logging.NullHandler()


def pytest_collection_finish(session):
    """Thousands of tests need not be looked at again at each collection of garbage, which would cost a fifth of the time."""
    gc.collect()
    gc.freeze()


CONTROL = Path("/sys/fs/cgroup")
MEMORY = [Path("/proc/meminfo"), CONTROL / "memory.max", CONTROL / "memory.events", CONTROL / "memory" / "memory.oom_control"]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Says how a process that ran tests has ended, if it should not have: a signal as a negative number, and the memory."""
    if error:
        said = [f"a process of tests has ended with {node.gateway._io.wait()}"]
        said += [f"{place}: {' '.join(place.read_text().split()[:12])}" for place in MEMORY if place.is_file()]
        print("\n" + "\n".join(said))


def pytest_unconfigure(config):
    gc.unfreeze()  # so that libraries find nothing left at the end
