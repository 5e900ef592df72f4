"""A search as text and as a page, made from its directory alone.

See `paretina.report.run_page` for what all pages have in common.
"""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paretina.report.charts import Chart, Curve, chart, path, scatter
from paretina.report.run_page import environment, render, write_page
from paretina.report.words import duration, percent, quantity, short
from paretina.search.architecture.rewards import SOFT_W
from paretina.text import how_many, length_of

Found = Mapping[str, Any]

CONTROL, SEARCHED, FULL = 8, 1, 2
"""Numbers of colours: trials of the control, of the search, and full trainings."""

WORDS = {"search": "best by reward", "front": "on the front", "control": "best of the control", "first": "what it began with"}


def read_search(folder: Path) -> dict[str, Any]:
    """The result of a search.

    Raises:
        ValueError: it is not finished, or there is none.
    """
    try:
        found: dict[str, Any] = json.loads((folder / "result.json").read_text())
        asked = json.loads((folder / "asked.json").read_text())
    except FileNotFoundError:
        raise ValueError(f"{folder} holds no finished search; continue it with: paretina search --resume {folder}") from None
    except ValueError as error:
        raise ValueError(f"a file in {folder} cannot be read: {error}") from None
    base = asked.get("study", {}).get("base", {})
    own = {"command": asked.get("command", ""), "data": asked.get("data", ""), "model": base.get("model_name", "")}
    return {**own, **found}


# --- words ----------------------------------------------------------------------------------------------------------------


def cost_of(found: Found) -> str:
    """The cost that candidates are plotted against."""
    if found["target"]:
        return str(found["target"]["cost"])
    return found["budgets"][0].partition(" ")[0] if found["budgets"] else "macs"


def spelled(cost: str, value: float | None) -> str:
    """A cost for a column that names it: counted ones without their unit."""
    if value is None:
        return "–"
    if cost == "latency_ms":
        return f"{short(value)} ms"
    return quantity(value, "B" if cost == "weight_bytes" else "")


COST_TITLES = {
    "latency_ms": "Latency expected",
    "macs": "MACs",
    "params": "Parameters",
    "activations": "Activations",
    "weight_bytes": "Weights",
}
"""Costs as titles of columns."""

COST_AXES = {
    "latency_ms": "latency, ms",
    "macs": "MACs",
    "params": "parameters",
    "activations": "activations",
    "weight_bytes": "bytes of weights",
}
"""Costs as titles of axes, with their unit."""


def with_unit(cost: str, value: float) -> str:
    """A cost by itself: "3.13 M MACs"."""
    return spelled(cost, value) if cost in ("latency_ms", "weight_bytes") else f"{spelled(cost, value)} {COST_AXES[cost]}"


def reward_name(found: Found) -> str:
    return {"front": "hypervolume", "accuracy": "best accuracy"}.get(found["reward_word"], "best reward")


def reward_said(found: Found, value: float) -> str:
    """A reward: accuracy in percent, weighed by the cost where it is not accuracy alone; a hypervolume has no unit."""
    return f"{value:.4g}" if found["reward_word"] == "front" else percent(100 * value)


def points_said(size: float) -> str:
    """The number of points of a space."""
    if not math.isfinite(size):
        return "unlimited"
    return f"{size:,.0f}" if size < 1e6 else f"about 1e{math.floor(math.log10(size))}"


def title_of(row: Found) -> str:
    return "first" if row["name"] == "first" else str(row["name"])[:6]


def summary_lines(found: Found) -> list[str]:
    """The result in lines of text."""
    cost = cost_of(found)
    tried = found["tried"]
    lines = [
        f"{found['space']}, searched by {found['by']} for {found['reward_word']}"
        f"{', within ' + ' and '.join(found['budgets']) if found['budgets'] else ''}",
        "",
        *arm_lines(found),
        "",
        f"trained in full on all training pictures, {how_many(found['seeds'], 'seed')} each, judged on validation pictures:",
    ]
    rows = [
        [
            title_of(row),
            WORDS[row["chosen_for"]],
            "–" if row["trial"] is None else f"{row['trial']:.1f}",
            "failed" if row["top1"] is None else f"{row['top1']:.2f}",
            "" if not row["interval"] else f"[{row['interval'][1]:.2f}, {row['interval'][2]:.2f}]",
            spelled(cost, row["costs"].get(cost)),
            spelled("macs", row["costs"].get("macs")),
            spelled("latency_ms", row["latency_ms"][0] if row["latency_ms"] else None),
            "" if row["holds"] else "misses the budget",
        ]
        for row in found["finalists"]
    ]
    head = ["name", "chosen for", "trial %", "full %", "95 %", COST_TITLES[cost], "MACs", "latency", ""]
    if cost == "macs":
        rows, head = [row[:6] + row[7:] for row in rows], head[:6] + head[7:]
    if not any(row[4] for row in rows):  # of one seed
        rows, head = [row[:4] + row[5:] for row in rows], head[:4] + head[5:]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines += [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    ]
    lines += ["", *verdict_lines(found)]
    if "file" in found["found"]:
        lines += [
            "",
            f"found: {found['found']['name']}",
            f"  {train_line(found, found_file(found))}",
        ]
    else:
        point = found["found"]["point"] or {}
        settings = " ".join(
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in point.items()
        )
        lines += ["", f"found: {found['found']['finalist'][:6]}, {settings}"]
        if "config" in found["found"]:
            place = Path(found.get("directory", ""))
            model = place / found["found"]["network"] if "network" in found["found"] else found["model"]
            lines.append(f"  {train_line(found, str(model))}")
    if not tried:
        lines.append("nothing was tried")
    return lines


def train_line(found: Found, model: str) -> str:
    """The command that trains what was found as the finalists were trained."""
    words = ["paretina", "train", found["data"] or "DATA", "--model", model]
    if "config" in found["found"]:
        words += ["--weights", "none", "--config", str(Path(found.get("directory", "")) / found["found"]["config"])]
    return shlex.join(words)


def found_file(found: Found) -> str:
    return str(Path(found.get("directory", "")) / found["found"]["file"])


def arm_lines(found: Found) -> list[str]:
    lines = []
    for arm in ("control", "search"):
        own = [one for one in found["tried"] if one["arm"] == arm]
        if not own:
            continue
        failed = sum(one["values"] is None for one in own)
        used = sum(one["share"] for one in own)
        best = found["best_so_far"][arm]
        rejected = found["rejected"].get(arm, 0)
        if not best:
            longest = max((one["share"] for one in own if one["values"] is not None), default=None)
            why = (
                f"all {len(own)} failed"
                if longest is None
                else f"the time ended after {how_many(len(own), 'candidate')}, the longest of which had "
                f"{length_of(longest)}; these decide"
            )
            lines.append(f"{arm + ':':<9}no candidate had a whole trial: {why}")
            continue
        scored = arm == "search" and found.get("shared")
        amount = how_many(len(own), "candidate")
        whole = math.isclose(used, round(used), abs_tol=1e-6)
        trained = f" in {how_many(round(used), 'trial')}" if whole else f" in trainings as long as {used:.1f} trials together"
        amount += " scored with inherited weights" if scored else trained
        faults = f", {failed} failed" if failed else ""
        told = f"{amount}, {rejected} rejected before training{faults}"
        lines.append(f"{arm + ':':<9}{told}; {reward_name(found)} {reward_said(found, best[-1][1])}")
    shared = found.get("shared")
    if shared:
        lines.append(
            f"shared weights: {how_many(shared['paths'], 'candidate')} trained together for {shared['epochs']:.3g} epochs; the "
            "accuracy of the search's candidates is that with inherited weights"
        )
        agreed = shared["agreement"]
        if agreed is None:
            few = f"{how_many(shared['pairs'], 'candidate')} of the control"
            lines.append(f"  against short trainings: {few} have no order to compare")
        else:
            spread = f" [{agreed['interval'][1]:.2f}, {agreed['interval'][2]:.2f}]" if agreed["interval"] else ""
            lines.append(
                f"  against short trainings: rank correlation {agreed['rho']:.2f}{spread} of "
                f"{how_many(shared['pairs'], 'candidate')} of the control"
            )
    table = found["table"]
    if table:
        error = "unknown" if table["error"] is None else f"{100 * table['error']:.1f} %"
        held = how_many(len(table["errors"]), "held-out network")
        most = f"largest {100 * max(table['errors'], default=0):.1f} %"
        lines.append(f"latency table: {how_many(table['units'], 'unit')}; median error on {held} {error}, {most}")
        if found["prediction"]:
            lines.append(f"  on the finalists: {', '.join(f'{100 * error:.0f} %' for error in found['prediction'])}")
    return lines


def beat(found: Found) -> str:
    """Whether the search beat random search, in plain words; what speaks against saying so comes first."""
    said = race_said(found)
    against = found["against_random"]
    if not any(one["arm"] == "control" for one in found["tried"]):
        return "there was no random search beside it, so nothing says whether the search was worth it"
    if against is None:
        able = {row["chosen_for"] for row in found["finalists"] if row["top1"] is not None}
        if not able & {"search", "front"}:
            return f"{said}no candidate of the search was trained in full, so nothing says whether it beat random search"
        if "control" not in able and not same_best(found):
            return f"{said}no candidate of random search was trained in full, so nothing says whether the search beat it"
        what = "network" if "file" in found["found"] else "settings"
        return f"{said}both ended at the same {what}: the search did not beat random search"
    points = f"{against['points']:+z.2f} points"
    interval = against["interval"]
    if not interval:
        return (
            f"{said}of one seed, which says nothing about chance, the search is {points} against random search in full "
            "trainings: that does not show that it beat it; give --seeds 2 or more"
        )
    spread = f" [{interval[1]:+z.2f}, {interval[2]:+z.2f}]"
    if against["clear"]:
        return f"{said}trained in full, the search beat random search: {points}{spread}"
    return f"{said}trained in full, the search did not beat random search: {points}{spread}"


def same_best(found: Found) -> bool:
    """Whether the best of the search in full was the best of the control by trials too."""
    able = [one for one in found["tried"] if one["arm"] == "control" and one["values"]]
    best = max(able, key=lambda one: (one["share"], one["values"][0]), default=None)
    return best is not None and any(row["name"] == best["name"] and row["top1"] is not None for row in found["finalists"])


def race_said(found: Found) -> str:
    """What trials say about the search and random search, as the beginning of a sentence; "" where they say nothing."""
    race = None if found.get("shared") else raced(found)  # short trainings and inherited weights are two scales
    if race is None:
        return ""
    values = {tuple(one["values"]) for one in found["tried"] if one["values"] is not None and one["share"] == 1}
    if len(values) == 1:
        return "all trials came out the same, so they say nothing about which is better; "
    ahead, at = race
    how = "was ahead of" if ahead > 0 else "was level with" if ahead == 0 else "was behind"
    return f"after {how_many(round(at, 2), 'trial')} each, the search {how} random search by what trials say; "


def raced(found: Found) -> tuple[float, float] | None:
    """How far the search was ahead of the control at the largest number of trials that both have had, and that number."""
    control, own = (found["best_so_far"][arm] for arm in ("control", "search"))
    if not control or not own:
        return None
    end = float(min(control[-1][0], own[-1][0]))
    best = [[value for at, value in line if at <= end + 1e-9] for line in (control, own)]
    return (best[1][-1] - best[0][-1], end) if all(best) else None


def verdict_lines(found: Found) -> list[str]:
    lines = [beat(found)]
    against = found["against_first"]
    if against is not None:
        interval = against["interval"]
        spread = f" [{interval[1]:+z.2f}, {interval[2]:+z.2f}]" if interval else ", of one seed"
        costs = ", at other costs: see the table" if "file" in found["found"] else ""
        lines.append(f"against what it began with: {against['points']:+z.2f} points{spread}{costs}")
        first = next((row for row in found["finalists"] if row["name"] == "first"), None)
        if against["points"] <= 0 and first is not None and first["holds"]:
            worse = "no better" if against["points"] == 0 else "worse"
            lines.append(
                f"what was found is {worse} than what the search began with: keep that, unless what was found is cheaper"
            )
    agreement = found["agreement"]
    if agreement is None:
        lines.append(f"trials against full trainings: a rank correlation needs 4 finalists, not {found['pairs']}")
    else:
        interval = agreement["interval"]
        spread = f" [{interval[1]:.2f}, {interval[2]:.2f}]" if interval else ""
        lines.append(
            f"trials against full trainings: rank correlation {agreement['rho']:.2f}{spread} of {found['pairs']} finalists"
        )
    if len(found["finalists"]) > 2:
        lines.append(
            f"the found one is the best of {len(found['finalists']) - 1} by validation pictures, so its accuracy is optimistic"
        )
    return lines


# --- the page -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contoured(Chart):
    """A scatter plot with lines of equal reward.

    Attributes:
        band: always empty; the template draws none.
    """

    band: str = ""


def write_search(folder: Path) -> Path:
    """Writes `report.html` into the directory of a finished search, and returns its path.

    Raises:
        ValueError: it is not finished.
    """
    found = read_search(folder)
    title = f"Search of {found['space']}"
    shell, opening, rest = render(title=title).partition("<body>\n")
    return write_page(folder / "report.html", shell + opening + page_body(found, title) + rest)


def page_body(found: Found, title: str) -> str:
    """The content of the page."""
    cost = cost_of(found)
    best = next(row for row in found["finalists"] if row["name"] == found["found"]["finalist"])
    text: str = (
        environment()
        .get_template("search.html.jinja")
        .render(
            title=title,
            found=found,
            best=best,
            cost=cost,
            cost_title=COST_TITLES[cost],
            reward_title="Hypervolume" if found["reward_word"] == "front" else "Reward, %",
            points=points_said(found["size"]),
            verdicts=verdict_lines(found),
            arms=arm_lines(found),
            charts=charts_of(found),
            finalists=[
                {
                    **row,
                    "title": title_of(row),
                    "words": WORDS[row["chosen_for"]],
                    "cost": spelled(cost, row["costs"].get(cost)),
                    "macs": spelled("macs", row["costs"].get("macs")),
                    "params": spelled("params", row["costs"].get("params")),
                    "measured": latency_said(row["latency_ms"]),
                }
                for row in found["finalists"]
            ],
            tried=[
                {
                    **one,
                    "cost": one["costs"].get(cost),
                    "cost_said": spelled(cost, one["costs"].get(cost)),
                    "short": one["name"][:6],
                    "number": sum(other["arm"] == one["arm"] for other in found["tried"][: at + 1]),
                    "length": "inherited weights"
                    if found.get("shared") and one["arm"] == "search"
                    else length_of(one["share"]),
                    "reward": one["values"] and reward_said(found, one["values"][0]),
                    "said": ", ".join(f"{name} {value}" for name, value in one["point"].items()),
                }
                for at, one in enumerate(found["tried"])
            ],
            tables=tables_of(found),
            took=duration(found["spent_s"]),
        )
    )
    return text


def latency_said(interval: Sequence[float] | None) -> str:
    return "–" if not interval else f"{short(interval[0])} ms ({short(interval[1])} to {short(interval[2])})"


def rows_of_table(model: Found) -> list[tuple[str, str]]:
    """The rows of a network's table: stem, stages, head."""
    from paretina.report.words import spelled as spec

    rows = [("stem", spec(model["stem"]))]
    for number, stage in enumerate(model["stages"], 1):
        rows.append(
            (str(number), f"{stage['depth']} x {spec(stage['block'])}, width {stage['width']}, stride {stage['stride']}")
        )
    return [*rows, ("head", spec(model["head"]))]


def tables_of(found: Found) -> list[tuple[str, str, str, bool]]:
    """The rows of the found network beside those of the first: name, found, first, and whether they differ."""
    if "model" not in found["found"]:
        return []
    ours, first = rows_of_table(found["found"]["model"]), rows_of_table(found["found"]["first"])
    ours.insert(0, ("image", f"{found['found']['model']['resolution']} pixels"))
    first.insert(0, ("image", f"{found['found']['first']['resolution']} pixels"))
    if len(ours) != len(first):
        return [(name, text, "", True) for name, text in ours]
    return [(name, text, other, text != other) for (name, text), (_, other) in zip(ours, first, strict=True)]


def charts_of(found: Found) -> list[Contoured]:
    """Accuracy against cost, of trials and of full trainings, with contours of the reward; and the best so far."""
    cost = cost_of(found)
    drawn: list[Chart | None] = []
    if all(cost in one["costs"] for one in found["tried"]):
        drawn += [tried_chart(found, cost), full_chart(found, cost)]
    names = [("random search", "control"), (f"search by {found['by']}", "search")]
    front = found["reward_word"] == "front"
    times = 1 if front else 100
    lines = [(label, [(float(at), times * float(value)) for at, value in found["best_so_far"][arm]]) for label, arm in names]
    what = reward_name(found).capitalize()
    scales = ", on two scales" if found.get("shared") else ""
    drawn.append(
        chart(
            f"{what} so far{scales}",
            "" if front else "%",
            "trials",
            [line for line in lines if line[1]],
            stepped=True,
            say=("{:.4g}" if front else "{:.1f}").format,
        )
    )
    return [each if isinstance(each, Contoured) else Contoured(**vars(each)) for each in drawn if each is not None]


def tried_chart(found: Found, cost: str) -> Chart | None:
    """Every candidate that had a whole trial: accuracy in short trainings, with its interval."""
    whole = [one for one in found["tried"] if one["accuracy"] is not None and one["share"] == 1]
    facts = [
        {
            "run": one["name"][:6],
            "model": one["arm"],
            "top1": one["accuracy"],
            "top1_low": one["accuracy_low"],
            "top1_high": one["accuracy_high"],
            "cost": one["costs"][cost],
        }
        for one in whole
    ]
    title = "Trials: accuracy with inherited weights; of the control in short trainings"
    plot = scatter(title if found.get("shared") else "Trials: accuracy in short trainings", COST_AXES[cost], facts, "cost", 1)
    if plot is None:
        return None
    colours = [CONTROL if one["arm"] == "control" else SEARCHED for one in whole]
    marks = tuple(
        replace(
            mark,
            label="",
            colour=colour,
            title=f"{fact['run']}, {fact['model']}: {percent(fact['top1'])}, {with_unit(cost, fact['cost'])}",
        )
        for mark, colour, fact in zip(plot.marks, colours, facts, strict=True)
    )
    return Contoured(**{**vars(replace(plot, marks=marks)), "curves": contours(found, plot, facts)})


def contours(found: Found, plot: Chart, facts: Sequence[Mapping[str, Any]]) -> tuple[Curve, ...]:
    """Lines of equal reward through the best trial and below it, where the reward weighs a cost softly."""
    w = found["reward"].get("w", SOFT_W) if found["reward_word"] in ("soft", "calibrated") else None
    if not w or not found["target"] or len({fact["cost"] for fact in facts}) < 2:
        return ()
    scale = axis_of(plot, facts)
    if scale is None:
        return ()
    x_of, y_of = scale
    limit = found["target"]["limit"]
    costs = [fact["cost"] for fact in facts]
    low, high = min(costs), max(costs)
    best = max(fact["top1"] * (fact["cost"] / limit) ** w for fact in facts)
    lines = []
    for share in (1.0, 0.95, 0.9):
        points = []
        for step in range(25):
            at = low * (high / low) ** (step / 24)
            y = y_of(share * best * (at / limit) ** -w)
            if 0 <= y <= 1000:
                points.append((x_of(at), y))
        if len(points) > 1:
            lines.append(Curve(f"reward {percent(share * best)}", 3, path(points), "", "stroke-width:1;opacity:.7"))
    return tuple(lines)


def axis_of(plot: Chart, facts: Sequence[Mapping[str, Any]]) -> tuple[Any, Any] | None:
    """The scales of a scatter plot, found from where its points lie: of cost and of accuracy, in thousandths."""
    costs = [fact["cost"] for fact in facts]
    logarithmic = min(costs) > 0 and max(costs) > 10 * min(costs)
    places = sorted(((math.log(cost) if logarithmic else cost), mark.x) for cost, mark in zip(costs, plot.marks, strict=True))
    heights = sorted((fact["top1"], mark.y) for fact, mark in zip(facts, plot.marks, strict=True))
    (x0, px0), (x1, px1) = places[0], places[-1]
    (y0, py0), (y1, py1) = heights[0], heights[-1]
    if x0 == x1 or y0 == y1:
        return None

    def x_of(cost: float) -> float:
        value = math.log(cost) if logarithmic else cost
        return round(px0 + (px1 - px0) * (value - x0) / (x1 - x0), 1)

    def y_of(accuracy: float) -> float:
        return round(py0 + (py1 - py0) * (accuracy - y0) / (y1 - y0), 1)

    return x_of, y_of


def full_chart(found: Found, cost: str) -> Chart | None:
    """The finalists: accuracy of full trainings with the interval over seeds, and the front."""
    able = [row for row in found["finalists"] if row["top1"] is not None and cost_in_end(row, cost) is not None]
    facts = [
        {
            "run": title_of(row),
            "model": WORDS[row["chosen_for"]],
            "top1": row["top1"],
            "top1_low": row["interval"][1] if row["interval"] else None,
            "top1_high": row["interval"][2] if row["interval"] else None,
            "cost": cost_in_end(row, cost),
        }
        for row in able
    ]
    across = "latency as measured, ms" if cost == "latency_ms" else COST_AXES[cost]
    plot = scatter("Finalists, trained in full", across, facts, "cost", 1)
    if plot is None:
        return None
    marks = tuple(
        replace(
            mark,
            label=fact["run"] if fact["run"] == "first" else mark.label,
            colour=CONTROL if row["chosen_for"] == "control" else FULL,
        )
        for mark, fact, row in zip(plot.marks, facts, able, strict=True)
    )
    return replace(plot, marks=marks)


def cost_in_end(row: Found, cost: str) -> float | None:
    """The cost of a finalist, as it was measured where it was."""
    if cost == "latency_ms" and row["latency_ms"]:
        return float(row["latency_ms"][0])
    value = row["costs"].get(cost)
    return None if value is None else float(value)
