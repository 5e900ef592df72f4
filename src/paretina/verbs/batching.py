"""Chooses the batch by the memory of the device, and scales the learning rate with it."""

import os
from collections.abc import Mapping
from typing import Any

from paretina.measure.machine import Device
from paretina.text import how_many
from paretina.train.asked import Choice, full_path
from paretina.train.fitting import LEAST_UPDATES, fitting_batch
from paretina.train.resolve import prepare
from paretina.verbs.checks import MisuseError

BATCH, SCALED, OF = "recipe.batch_size", "recipe.optimizer.scale_lr", "recipe.optimizer.lr_batch"


def with_batch(fields: Mapping[str, Any], batch: int | str | None) -> dict[str, Any]:
    """The fields with the one that a batch stands for; "auto" is left to `fitted`, and None stands for none.

    Raises:
        MisuseError: it is neither a number nor "auto", or the field is given too.
    """
    if batch is None:
        return dict(fields)
    if given := [name for name in fields if full_path(name) == BATCH]:
        raise MisuseError(f"the batch is given twice, as --batch {batch} and as {given[0]}; leave one out")
    if batch == "auto":
        return dict(fields)
    if not str(batch).isdecimal() or int(batch) < 1:
        raise MisuseError(f"--batch takes a number of pictures, at least 1, or auto, got {batch!r}")
    return {**fields, "batch_size": int(batch)}


def fitted(choice: Choice) -> Choice:
    """The request with a batch of as many pictures as fit into memory, for which the data is read.

    The learning rate is scaled in proportion to the batch (Goyal et al. 2017, arXiv:1706.02677, section 2.1), which is right
    for SGD with warm-up and up to some thousand pictures, and a guess elsewhere.

    Raises:
        MisuseError: there are several processes.
        ValueError: see `fitting_batch`.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise MisuseError("--batch auto measures the memory of one process, and torchrun has started several; give a number")
    recipe = choice.asked.recipe
    found = fitting_batch(prepare(choice.asked), Device.here(choice.asked.plan.device))
    factor = found.batch / recipe.batch_size
    choice.set(BATCH, found.batch, "--batch auto")
    if not recipe.optimizer.scale_lr and factor != 1:
        choice.set(SCALED, True, "--batch auto")
        choice.set(OF, recipe.batch_size, "--batch auto")
    all_fit = found.fits >= found.most
    fit = f"{'at least' if all_fit else 'about'} {found.fits:,} fit into memory ({found.how})"
    bound = f"; a larger batch would leave fewer than {LEAST_UPDATES} updates an epoch" if all_fit else ""
    was = "as the recipe has it" if factor == 1 else f"in place of {recipe.batch_size}"
    rate = "stays" if factor == 1 else f"is {factor:g} times as high"
    said = f"batch: {how_many(found.batch, 'picture')} an update, {was}: {fit}{bound}; the learning rate {rate}"
    choice.said = (*choice.said, said)
    return choice
