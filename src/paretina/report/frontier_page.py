"""The frontier as a page, CSV and Markdown, generated only from its directory.

The page is one file that opens offline and loads nothing. Its plots are drawn by an inline script from the figures in the page,
so they can be hovered and filtered, and fronts are those of the shown candidates. Without scripts there is the table.
"""

import json
import re
from pathlib import Path
from typing import Any

from paretina.measure.pareto import rank_correlation, same_front
from paretina.measure.statistics import Interval, as_columns, as_object
from paretina.report.run_page import environment, write_page, write_report
from paretina.report.words import duration, quantity, short
from paretina.run import write_aside
from paretina.search.frontier.runtimes import RUNTIMES
from paretina.search.frontier.standing import COSTS, COUNTED, TIMED, Entry, Recommendation, Standing, recommend
from paretina.tables import csv_text
from paretina.text import how_many, markdown_cells, printable

TITLES = {
    "latency_ms": "Latency of one picture",
    "throughput": "Throughput",
    "train_seconds": "Training time",
    "weight_bytes": "Size of the weights",
    "peak_mb": "Peak memory",
    "macs": "Multiply-adds",
    "energy_j": "Energy of one picture",
}


def write_frontier(standing: Standing) -> tuple[Path, Path, Path]:
    """Writes `report.html`, `frontier.csv` and `frontier.md` into a frontier's directory; older ones are replaced.

    The last run of each candidate gets its own report, if it has none.
    """
    folder = standing.folder
    for entry in standing.entries:
        if entry.links and not (entry.links[-1].run / "report.html").exists():
            write_report(entry.links[-1].run)
    write_page(folder / "report.html", page(standing))
    write_aside(folder / "frontier.csv", csv_of(standing).encode())
    write_aside(folder / "frontier.md", markdown(standing).encode())
    return folder / "report.html", folder / "frontier.csv", folder / "frontier.md"


# --- rows ---------------------------------------------------------------------------------------------------------------


def fronts(standing: Standing) -> dict[str, set[str]]:
    """The finalists on the front of accuracy and each cost."""
    return {cost: {point.name for point in standing.frontier(cost).front()} for cost in standing.known_costs()}


def in_order(standing: Standing) -> list[Entry]:
    """The candidates: finalists first, then by last rung; within each group the cheapest first."""
    cost = standing.cost

    def place(entry: Entry) -> tuple[int, float, str]:
        known = entry.costs.get(cost.name)
        return -entry.rung, -cost.worth(known.value) if known else 0.0, entry.name

    return sorted(standing.entries, key=place)


def rows(standing: Standing) -> list[dict[str, Any]]:
    """One row per candidate, with equal columns; unknown values are None."""
    found, on, shares = [], fronts(standing), standing.shares
    for entry in in_order(standing):
        asked = entry.candidate.asked
        row: dict[str, Any] = {
            "name": entry.name,
            "model": asked.model_name,
            "size": entry.size,
            "recipe": asked.recipe_name,
            "weights": asked.weights,
            "status": status(standing, entry),
            "rungs": len(entry.links),
            "epochs": round(entry.epochs, 3) if entry.links else None,
            "runtime": entry.runtime or None,
            **as_columns("top1", entry.top1),
        }
        for cost in standing.known_costs():
            row |= as_columns(cost, entry.costs.get(cost))
            row[f"on_front_{cost}"] = int(entry.name in on[cost])
        row["front_share"] = shares.get(entry.name)
        row["run"] = str(entry.links[-1].run.relative_to(standing.folder)) if entry.links else None
        row["failed"] = entry.failed or None
        found.append(row)
    return found


def status(standing: Standing, entry: Entry) -> str:
    if entry.failed:
        return "failed"
    if not entry.links:
        return "waiting"
    return "finalist" if entry.rung == standing.last_rung else "stopped early"


def csv_of(standing: Standing) -> str:
    """The rows as CSV."""
    return csv_text(rows(standing))


# --- words --------------------------------------------------------------------------------------------------------------


def spelled(cost: str, value: float | None) -> str:
    """A cost with its unit."""
    if value is None:
        return "–"
    if cost == "train_seconds":
        return duration(value)
    if cost in ("weight_bytes", "macs"):
        return quantity(value, "B" if cost == "weight_bytes" else "")
    return f"{short(value)} {COSTS[cost].unit}"


def between(cost: str, interval: Interval) -> str:
    """The ends of an interval; "" if they are equal."""
    _, low, high = interval
    return "" if low == high else f"{short(low)} to {short(high)}"


def correlations(standing: Standing) -> list[dict[str, Any]]:
    """Rank correlations of counted with measured costs, over all candidates; for training, with the time per epoch."""
    found = []
    for counted in COUNTED:
        for measured in (*TIMED, "train_seconds"):
            pairs = []
            for entry in standing.entries:
                if counted in entry.costs and measured in entry.costs:
                    value = entry.costs[measured].value
                    # candidates that were stopped early had fewer epochs
                    value = value / entry.epochs if measured == "train_seconds" else value
                    # more MACs should mean more time, and fewer pictures per second
                    pairs.append((entry.costs[counted].value, -COSTS[measured].worth(value)))
            correlation = rank_correlation([a for a, _ in pairs], [b for _, b in pairs])
            if correlation is not None:
                rho, ended = correlation
                found.append(
                    {"counted": counted, "measured": measured, "n": len(pairs), "rho": rho, "interval": as_object(ended)}
                )
    return found


def title_of(measured: str) -> str:
    """The measured cost of a rank correlation, in words."""
    return "training time per epoch" if measured == "train_seconds" else TITLES[measured].lower()


def compared(standing: Standing) -> dict[str, Any] | None:
    """How the front by MACs differs from the one by the requested cost; None if that is a counted one too."""
    cost = standing.halving.cost
    known = [entry for entry in standing.finalists if cost in entry.costs and "macs" in entry.costs]
    if cost in COUNTED or not known:
        return None
    both, counted, measured = same_front(standing.frontier("macs", known), standing.frontier(cost, known))
    return {"both": sorted(both), "counted": sorted(counted), "measured": sorted(measured)}


def markdown(standing: Standing) -> str:
    """The frontier as a Markdown table with notes."""
    costs, on = standing.known_costs(), fronts(standing)
    lines = [f"# {heading(standing)}", "", *(f"- {printable(note)}" for note in standing.notes()), ""]
    several = len(standing.runtimes) > 1
    timed_in = ["runtime"] if several else []
    titles = ["candidate", "top-1 %", "95 %", "epochs", *timed_in, *(f"{cost}" for cost in costs), "on front", "status"]
    lines += [markdown_cells(titles), f"|{'---|' * len(titles)}"]
    for entry in in_order(standing):
        top1 = entry.top1
        cells = [
            entry.name,
            f"{top1.value:.1f}" if top1 else "–",
            f"{top1.low:.1f} to {top1.high:.1f}" if top1 else "–",
            f"{entry.epochs:g}" if top1 else "–",
            *([entry.runtime or "–"] if several else []),
        ]
        for cost in costs:
            known = entry.costs.get(cost)
            ends = between(cost, known) if known else ""
            cells.append(spelled(cost, known.value) + (f" ({ends})" if ends else "") if known else "–")
        cells += ["yes" if entry.name in on.get(standing.halving.cost, ()) else "", status(standing, entry)]
        lines.append(markdown_cells(cells))
    for found in correlations(standing):
        ends = found["interval"]
        interval = f"[{ends['low']:.2f}, {ends['high']:.2f}]" if ends else "[–]"
        pair = f"{TITLES[found['counted']].lower()} with {title_of(found['measured'])}"
        lines += [
            "",
            f"Rank correlation of {pair} over {how_many(found['n'], 'candidate')}: {found['rho']:.2f} {interval}.",
        ]
    differing = compared(standing)
    if differing:
        lines += ["", front_sentence(standing, differing)]
    best = recommend(standing, standing.budgets)
    if best:
        lines += ["", "## Recommendation", "", *recommended_lines(best)]
    return "\n".join(lines) + "\n"


def front_sentence(standing: Standing, found: dict[str, list[str]]) -> str:
    cost = standing.halving.cost
    text = (
        f"Of the front by macs, {len(found['both'])} of {len(found['both']) + len(found['counted'])} are on the front by {cost}"
    )
    if found["counted"]:
        text += f"; not there: {', '.join(found['counted'])}"
    if found["measured"]:
        text += f"; there alone: {', '.join(found['measured'])}"
    return f"{text}."


def recommended_lines(found: Recommendation) -> list[str]:
    """A recommendation in words, one line each."""
    accuracy = found.accuracy
    within = f", within {' and '.join(map(str, found.budgets))}" if found.budgets else ""
    lines = [
        f"{found.entry.name}{within}: top-1 {accuracy.value:.1f} % ({accuracy.low:.1f} to {accuracy.high:.1f}, "
        f"allowing for the selection among {found.among})"
    ]
    if found.command:
        about = f" (about {duration(found.full_s)})" if found.full_s else ""
        lines.append(f"train it in full{about}: {found.command}")
    if found.ship:
        lines.append(f"{'then ' if found.command else ''}make the file that was timed: {found.ship}")
    elif found.runtime == "compiled":
        lines.append(
            "run it compiled, in Python: paretina.measure.inference.prepared(network, InferencePlan(compile=True)); the "
            "commands run it eagerly"
        )
    if found.runtime:
        lines.append(f"timed in: {found.runtime} ({RUNTIMES[found.runtime].words})")
    lines.append(f"weights so far: {found.entry.links[-1].model}")
    if found.alike:
        lines.append(f"not significantly different on these pictures: {', '.join(found.alike)}")
    return [*lines, *found.notes]


def cost_lines(found: Recommendation) -> list[str]:
    """The costs of the recommended candidate, one line each, timed ones with intervals; then those in other runtimes."""
    lines = [cost_line(cost, each) for cost, each in found.entry.costs.items()]
    for runtime, costs in found.entry.timed.items():
        if runtime != found.runtime:
            lines.append(f"in {runtime}: {', '.join(cost_line(cost, each) for cost, each in costs.items())}")
    return lines


def cost_line(cost: str, interval: Interval) -> str:
    """A cost in words, with its interval where it has one."""
    ends = between(cost, interval)
    return f"{TITLES[cost].lower()}: {spelled(cost, interval.value)}{f' ({ends})' if ends else ''}"


def heading(standing: Standing) -> str:
    data = re.split(r"[/\\]", standing.asked["data"].rstrip("/\\"))[-1]
    return f"Accuracy against {TITLES[standing.halving.cost].lower()} on {data}"


# --- the page -----------------------------------------------------------------------------------------------------------


def page(standing: Standing) -> str:
    """The page as HTML."""
    best = recommend(standing, standing.budgets)
    on, shares = fronts(standing), standing.shares
    costs = standing.known_costs()
    models = sorted({entry.candidate.asked.model_name or entry.name for entry in standing.entries})
    entries = []
    for entry in in_order(standing):
        asked = entry.candidate.asked
        model = asked.model_name or entry.name
        entries.append(
            {
                "name": entry.name,
                "model": model,
                "colour": 1 + models.index(model) % 8,
                "size": entry.size,
                "recipe": asked.recipe_name or "given",
                "status": status(standing, entry),
                "epochs": entry.epochs,
                "runtime": entry.runtime if len(standing.runtimes) > 1 else "",
                "top1": list(entry.top1) if entry.top1 else None,
                "costs": {cost: list(value) for cost, value in entry.costs.items()},
                "words": {cost: spelled(cost, value.value) for cost, value in entry.costs.items()},
                "ends": {cost: between(cost, value) for cost, value in entry.costs.items()},
                "fronts": [cost for cost in costs if entry.name in on[cost]],
                "share": shares.get(entry.name),
                "report": link_of(standing, entry),
                "failed": entry.failed,
            }
        )
    differing = compared(standing)
    drawn = {
        "cost": standing.halving.cost,
        "budgets": {budget.cost: budget.limit for budget in standing.budgets},
        "axes": {cost: {"title": TITLES[cost], "unit": COSTS[cost].unit, "better": COSTS[cost].better} for cost in costs},
        "entries": [entry for entry in entries if entry["top1"]],
    }
    said = recommended_lines(best)[1:] if best else []
    typed = (best.command, best.command and best.ship) if best else ()  # which stand by themselves
    view = {
        "title": heading(standing),
        "done": standing.done,
        "command": standing.asked["command"],
        "device": standing.asked["device"],
        "spent": duration(standing.spent_s),
        "time": duration(standing.halving.seconds),
        "rungs": [
            f"{how_many(len(rung['names']), 'candidate')}, {rung_length(rung)}" for rung in standing.rungs if rung["names"]
        ],
        "notes": standing.notes(),
        "disturbed": standing.disturbed,
        "best": best,
        "best_lines": [line for line in said if not any(command and command in line for command in typed)],
        "within": " and ".join(map(str, standing.budgets)),
        "unmet": bool(standing.budgets) and best is None and standing.session is not None,
        "best_costs": [(TITLES[c], spelled(c, v.value), between(c, v)) for c, v in best.entry.costs.items()] if best else [],
        "entries": entries,
        "costs": [(cost, TITLES[cost], COSTS[cost].unit) for cost in costs],
        "cost": standing.halving.cost,
        "several": len(standing.runtimes) > 1,
        "correlations": [
            {**each, "counted": TITLES[each["counted"]].lower(), "measured": title_of(each["measured"])}
            for each in correlations(standing)
        ],
        "front_sentence": front_sentence(standing, differing) if differing else "",
        "filters": [
            (title, key, sorted({entry[key] for entry in entries}, key=lambda value: (str(type(value)), value)))
            for title, key in (
                ("Network", "model"),
                ("Pixels", "size"),
                ("Recipe", "recipe"),
                ("Runtime", "runtime"),
                ("Status", "status"),
            )
        ],
        # a script must not contain its own end tag
        "drawn": json.dumps(drawn, separators=(",", ":")).replace("<", "\\u003c"),
    }
    text: str = environment().get_template("frontier.html.jinja").render(view)
    return text


def rung_length(rung: dict[str, Any]) -> str:
    if rung["epochs"] is None:
        return f"{duration(rung['seconds'])} each"
    low, high = min(rung["epochs"].values()), max(rung["epochs"].values())
    return f"{how_many(low, 'epoch', 'g')} each" if low == high else f"{low:g} to {high:g} epochs each"


def link_of(standing: Standing, entry: Entry) -> str:
    """Relative link to the report of its last run; "" if there is none."""
    if not entry.links or not (entry.links[-1].run / "report.html").is_file():
        return ""
    return (entry.links[-1].run / "report.html").relative_to(standing.folder).as_posix()
