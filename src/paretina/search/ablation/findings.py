"""Reads the results of an ablation study from its directory, finished or not."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from paretina.measure.cost import without
from paretina.measure.statistics import Interval, as_object
from paretina.run import Run
from paretina.search.ablation import laws
from paretina.search.ablation.laws import Exchange, Law, Noise
from paretina.search.ablation.study import BASE, LengthUnit, Study, Variant
from paretina.search.ablation.switches import Switch
from paretina.search.ablation.verdicts import Pairs, Price, Verdict, decide_verdicts, level_of_look, mean_of
from paretina.spec import decode
from paretina.text import how_many


def read_state(path: Path) -> dict[str, Any]:
    """The content of `study.json`.

    Raises:
        ValueError: it is missing or damaged.
    """
    file = path / "study.json"
    try:
        state = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} holds no study: there is no study.json in it") from None
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from None
    if not isinstance(state, dict) or "study" not in state:
        raise ValueError(f"{file} does not describe a study")
    return state


def is_over(folder: Path) -> bool:
    return (folder / "result.json").exists() or (folder / "failed.json").exists()


# --- the runs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """The results of a finished run.

    Attributes:
        time_s: seconds of training; None if it was interrupted, since some updates were then repeated.
        peak_mb: peak memory; None if the system cannot measure it per run.
        train: number of training pictures, including repeats; `val` is that of validation pictures.
        network: digest of the network.
        machine: the machine and versions it ran on.
        uncounted: operators not counted in the MACs, as in `Cost`.
        on_train: top-1 on training pictures, see `paretina.train.own_pictures`; None in runs of earlier releases.
    """

    top1: float
    time_s: float | None
    peak_mb: float | None
    train: int
    val: int
    macs: int
    params: int
    network: str
    machine: str
    uncounted: tuple[str, ...] = ()
    nll: float | None = None
    on_train: float | None = None


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def outcome(folder: Path, peaks: bool) -> Outcome | None:
    run = Run(folder)
    result = run.result()
    if result is None:
        return None
    asked = run.asked()
    environment = asked.get("environment", {})
    once = all(line.get("attempt", 0) == 0 for line in run.lines())
    return Outcome(
        top1=result["metrics"]["val/top1"],
        time_s=result["time_s"] if once else None,
        peak_mb=result["peak_mb"] if peaks else None,
        train=result["data"]["train"],
        val=result["data"]["val"],
        macs=result["cost"]["macs"],
        uncounted=tuple(result["cost"].get("uncounted", ())),
        params=result["cost"]["params"],
        nll=result["metrics"].get("val/nll"),
        on_train=(result.get("on_train") or {}).get("value"),
        network=digest(json.dumps(asked["model"])),
        machine=", ".join(f"{environment.get(name, '')}" for name in ("cpu", "gpu", "torch", "device")),
    )


@dataclass(frozen=True)
class Finding:
    """The results of one switch. Costs are ratios of the run with the judged refinement to the run without it.

    Attributes:
        seeds: seeds of the pairs.
        time: ratio of training times, with its interval; None with fewer than 3 pairs.
        memory: ratio of peak training memory, likewise; `memory_mb` is the difference in MiB.
        inference: ratio of the inference times per image; exactly 1 if the network is the same.
        macs: ratio of MACs; `params` that of parameters.
        verdict: None until all runs are done.
        gain: points of top-1, with its interval; None with fewer than 3 pairs.
    """

    switch: Switch
    pairs: Pairs
    seeds: tuple[int, ...]
    gain: Interval | None
    time: Interval | None
    memory: Interval | None
    memory_mb: Interval | None
    inference: Interval | None
    macs: float | None
    params: float | None
    verdict: Verdict | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "switch": self.switch.title,
            "fields": list(self.switch.fields),
            "judged": "the change" if self.switch.adds else "what the base has",
            "seeds": list(self.seeds),
            "gains": list(self.pairs.gain),
            "gain": as_object(self.gain),
            "time_ratio": as_object(self.time),
            "memory_ratio": as_object(self.memory),
            "memory_mb": as_object(self.memory_mb),
            "inference_ratio": as_object(self.inference),
            "macs_ratio": self.macs,
            "params_ratio": self.params,
            "failed": self.pairs.failed,
            "verdict": None if self.verdict is None else self.verdict.to_dict(),
        }


@dataclass(frozen=True)
class Scaling:
    """Accuracy of one network against the number of training pictures.

    Attributes:
        network: its name; "" for the base.
        points: mean top-1 with its interval, by the number of pictures.
        curves: top-1 of each seed.
    """

    network: str
    budget: LengthUnit
    points: dict[float, tuple[float, Interval | None]]
    curves: tuple[dict[float, float], ...]
    laws: tuple[Law, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "network": self.network or BASE,
            "budget": self.budget,
            "points": {f"{x:g}": {"top1": top1, "interval": as_object(ends)} for x, (top1, ends) in self.points.items()},
            "laws": [law.to_dict() for law in self.laws],
        }


@dataclass(frozen=True)
class InterimLook:
    """A look at the verdicts.

    Attributes:
        number: number of the look, from 1.
        level: error rate that it may spend; `spent` is that of all looks so far.
        final: whether it is the last one.
    """

    number: int
    level: float
    spent: float
    final: bool
    price: Price


@dataclass(frozen=True)
class Findings:
    """The results of a study so far.

    Attributes:
        top1: top-1 of the baseline, mean and interval over seeds; None before 3 are done, see `base`.
        base: top-1 of the baseline by seed.
        on_train: its mean top-1 on training pictures; None if no run has it.
        exchanges: each with its budget.
        done: number of finished runs; `runs` is that of all.
        look: None until all runs are done.
        notes: remarks for reading the results, one sentence each.
    """

    path: Path
    study: Study
    base: dict[int, float]
    top1: Interval | None
    findings: tuple[Finding, ...]
    scalings: tuple[Scaling, ...]
    noise: Noise | None
    exchanges: tuple[tuple[LengthUnit, Exchange], ...]
    inference: dict[str, Any] | None
    done: int
    runs: int
    look: InterimLook | None
    notes: tuple[str, ...]
    on_train: float | None = None

    def to_dict(self) -> dict[str, Any]:
        look = self.look
        return {
            "path": str(self.path),
            "done": self.done,
            "runs": self.runs,
            "seeds": list(self.study.seeds),
            "base": {"model": self.study.base.model_name, "recipe": self.study.base.recipe_name},
            "base_top1": {str(seed): top1 for seed, top1 in self.base.items()},
            "base_top1_interval": as_object(self.top1),
            "base_on_train": self.on_train,
            "switches": [finding.to_dict() for finding in self.findings],
            "price": None if look is None else look.price.to_dict(),
            "look": None
            if look is None
            else {"number": look.number, "level": look.level, "spent": look.spent, "final": look.final},
            "data": [scaling.to_dict() for scaling in self.scalings],
            "label_noise": None if self.noise is None else self.noise.to_dict(),
            "networks": [{"budget": budget, **found.to_dict()} for budget, found in self.exchanges],
            "inference_ms": None if self.inference is None else self.inference["ms"],
            "notes": list(self.notes),
        }


Outcomes = dict[str, dict[int, Outcome]]
"""Outcomes by name of the variant and seed, as far as they exist."""


def outcomes_of(path: Path, study: Study, state: dict[str, Any]) -> tuple[Outcomes, dict[str, list[int]]]:
    """The outcomes, and the failed seeds of each variant."""
    found: Outcomes = {}
    failed: dict[str, list[int]] = {}
    for variant in study.variants(state["epochs"]):
        found[variant.name], failed[variant.name] = {}, []
        for seed in study.seeds:
            folder = variant.folder(path, seed)
            if (folder / "failed.json").exists():
                failed[variant.name].append(seed)
            elif (came_out := outcome(folder, state["peaks"])) is not None:
                found[variant.name][seed] = came_out
    return found, failed


def pairs_of(study: Study, state: dict[str, Any], found: Outcomes, failed: Mapping[str, Sequence[int]]) -> list[Pairs]:
    """The pairs of each switch, in the order of the study."""
    return [
        paired(variant, variant.switch, study.seeds, state, found, failed)
        for variant in study.variants(state["epochs"])
        if variant.switch is not None
    ]


def paired(
    variant: Variant,
    switch: Switch,
    seeds: Sequence[int],
    state: dict[str, Any],
    found: Outcomes,
    failed: Mapping[str, Sequence[int]],
) -> Pairs:
    both = sides(variant, switch, seeds, found)
    ratios = (state["inference"] or {}).get("ratios", {})
    known = None
    if both and all(having.network == lacking.network for having, lacking in both.values()):
        known = Interval(1.0, 1.0, 1.0)
    elif variant.name in ratios:
        value, low, high = (ratios[variant.name][name] for name in ("value", "low", "high"))
        known = Interval(value, low, high) if switch.adds else Interval(1 / value, 1 / high, 1 / low)
    return Pairs(
        name=switch.title,
        gain=tuple(having.top1 - lacking.top1 for having, lacking in both.values()),
        time=tuple(divided(having.time_s, lacking.time_s) for having, lacking in both.values()),
        memory=tuple(divided(having.peak_mb, lacking.peak_mb) for having, lacking in both.values()),
        inference=known,
        resolution=100 / next(iter(both.values()))[0].val if both else 0.0,
        failed=len({*failed[variant.name], *failed[BASE]}),
    )


def sides(variant: Variant, switch: Switch, seeds: Sequence[int], found: Outcomes) -> dict[int, tuple[Outcome, Outcome]]:
    """By seed: the run with the judged refinement, and the run without it."""
    base, changed = found[BASE], found[variant.name]
    both = [seed for seed in seeds if seed in base and seed in changed]
    return {seed: (changed[seed], base[seed]) if switch.adds else (base[seed], changed[seed]) for seed in both}


def divided(over: float | None, under: float | None) -> float | None:
    return over / under if over and under else None


# --- verdicts ------------------------------------------------------------------------------------------------------------


def looked_at(study: Study, price: Price) -> dict[str, Any]:
    """What identifies a look: if any of it differs, it is a new look."""
    return {
        "seeds": sorted(study.seeds),
        "switches": sorted(switch.title for switch in study.switches),
        "price": price.to_dict(),
    }


def verdicts_of(
    study: Study, state: dict[str, Any], found: Outcomes, failed: Mapping[str, Sequence[int]]
) -> tuple[Verdict, ...]:
    """The verdicts at the last look."""
    last = state["looks"][-1]
    told = {name: said for each in state["looks"][:-1] for name, said in each["told"].items()}
    after = None if last["final"] else level_of_look(last["spent"])
    return decide_verdicts(pairs_of(study, state, found, failed), Price(**last["of"]["price"]), last["level"], after, told)


# --- all of it -----------------------------------------------------------------------------------------------------------


def read_findings(path: Path) -> Findings:
    """Reads the results of a study so far from its directory.

    Raises:
        ValueError: there is no study, or a file of it is damaged.
    """
    state = read_state(path)
    study = decode(Study, state["study"])
    found, failed = outcomes_of(path, study, state)
    jobs = study.jobs(state["epochs"])
    done = sum(is_over(variant.folder(path, seed)) for variant, seed in jobs)
    last = state["looks"][-1] if state["looks"] else None
    verdicts: Mapping[str, Verdict] = {}
    looked = None
    if last is not None and done == len(jobs) and last["of"] == looked_at(study, Price(**last["of"]["price"])):
        verdicts = {verdict.name: verdict for verdict in verdicts_of(study, state, found, failed)}
        looked = InterimLook(len(state["looks"]), last["level"], last["spent"], last["final"], Price(**last["of"]["price"]))
    findings = []
    for variant in study.variants(state["epochs"]):
        if variant.switch is not None:
            pairs = paired(variant, variant.switch, study.seeds, state, found, failed)
            findings.append(finding(variant, variant.switch, study, pairs, found, verdicts.get(pairs.name)))
    base = {seed: came_out.top1 for seed, came_out in found[BASE].items()}
    mean = mean_of(list(base.values()))
    fits = [came_out.on_train for came_out in found[BASE].values() if came_out.on_train is not None]
    scalings = scalings_of(study, state, found)
    return Findings(
        path=path,
        study=study,
        base=base,
        top1=None if mean is None else mean.interval(),
        findings=tuple(findings),
        scalings=scalings,
        noise=noise_of(study, state, found),
        exchanges=exchanges_of(study, state, found),
        inference=state["inference"],
        done=done,
        runs=len(jobs),
        look=looked,
        notes=tuple(notes_of(state, study, found, failed)),
        on_train=fmean(fits) if fits else None,
    )


def finding(variant: Variant, switch: Switch, study: Study, pairs: Pairs, found: Outcomes, verdict: Verdict | None) -> Finding:
    both = sides(variant, switch, study.seeds, found)
    first = next(iter(both.values()), None)
    gain = mean_of(pairs.gain, pairs.resolution)
    peaks = [a.peak_mb - b.peak_mb for a, b in both.values() if a.peak_mb is not None and b.peak_mb is not None]
    memory = mean_of(peaks)
    return Finding(
        switch=switch,
        pairs=pairs,
        seeds=tuple(both),
        gain=None if gain is None else gain.interval(),
        time=pairs.ratio("time"),
        memory=pairs.ratio("memory"),
        memory_mb=None if memory is None else memory.interval(),
        inference=pairs.inference,
        macs=None if first is None else first[0].macs / first[1].macs,
        params=None if first is None else first[0].params / first[1].params,
        verdict=verdict,
    )


def scaling_variants(study: Study, state: dict[str, Any], network: str, budget: LengthUnit) -> list[Variant]:
    """The variants of one network with all its data fractions, smallest first."""
    found = [
        variant
        for variant in study.variants(state["epochs"])
        if variant.switch is None
        and not variant.noise
        and variant.rival == network
        and (variant.share == 1 or variant.budget == budget)
    ]
    return sorted(found, key=lambda variant: variant.share)


def curves_of(
    study: Study, state: dict[str, Any], found: Outcomes, network: str, budget: LengthUnit
) -> dict[int, dict[float, float]]:
    """Top-1 by number of pictures, for every seed with all runs done."""
    variants = scaling_variants(study, state, network, budget)
    whole = next(iter(found[BASE].values()), None)
    if whole is None:
        return {}
    return {
        seed: {float(max(1, round(variant.share * whole.train))): found[variant.name][seed].top1 for variant in variants}
        for seed in study.seeds
        if all(seed in found[variant.name] for variant in variants)
    }


def scalings_of(study: Study, state: dict[str, Any], found: Outcomes) -> tuple[Scaling, ...]:
    scalings = []
    for network in ("", *(rival.name for rival in study.rivals)):
        for budget in study.budgets:
            curves = list(curves_of(study, state, found, network, budget).values())
            if not curves or len(curves[0]) < 2:
                continue
            points = {x: (mean, laws.interval([curve[x] for curve in curves])) for x, mean in laws.mean_curve(curves).items()}
            scalings.append(Scaling(network, budget, points, tuple(curves), tuple(laws.laws(curves))))
    return tuple(scalings)


def noise_of(study: Study, state: dict[str, Any], found: Outcomes) -> Noise | None:
    variants = [variant for variant in study.variants(state["epochs"]) if variant.noise or variant.name == BASE]
    curves = [
        {variant.noise: found[variant.name][seed].top1 for variant in variants}
        for seed in study.seeds
        if all(seed in found[variant.name] for variant in variants)
    ]
    return laws.noise_law(curves) if curves and len(variants) > 1 else None


def exchanges_of(study: Study, state: dict[str, Any], found: Outcomes) -> tuple[tuple[LengthUnit, Exchange], ...]:
    exchanges: list[tuple[LengthUnit, Exchange]] = []
    for rival in study.rivals:
        for budget in study.budgets:
            ours, theirs = (curves_of(study, state, found, network, budget) for network in ("", rival.name))
            seeds = [seed for seed in ours if seed in theirs]
            if seeds:
                both = ([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds])
                exchanges.append((budget, laws.exchange(rival.name, *both)))
    return tuple(exchanges)


def without_effect(study: Study, state: dict[str, Any], found: Outcomes) -> list[str]:
    """The changes whose runs ended with the very figures of the baseline's, with every seed."""
    names = []
    for variant in study.variants(state["epochs"]):
        if variant.switch is None:
            continue
        both = sides(variant, variant.switch, study.seeds, found).values()
        if both and all(one.nll is not None and (one.top1, one.nll) == (other.top1, other.nll) for one, other in both):
            names.append(variant.switch.title)
    return names


def notes_of(state: dict[str, Any], study: Study, found: Outcomes, failed: Mapping[str, Sequence[int]]) -> Iterator[str]:
    for name in without_effect(study, state, found):
        yield f"{name}: the runs with and without it have exactly the same figures, so it has no effect in runs of this length"
    everything = [came_out for by_seed in found.values() for came_out in by_seed.values()]
    if everything:
        val = everything[0].val
        yield (
            f"intervals cover variation between seeds on these {val:,} validation pictures, one of which is {100 / val:.2g} "
            "points; they do not cover other pictures"
        )
    for name, seeds in failed.items():
        if seeds:
            numbers = ", ".join(map(str, seeds))
            yield f"{name}: failed with seed{'s' if len(seeds) > 1 else ''} {numbers}, see failed.json there"
    resumed = sum(came_out.time_s is None for came_out in everything)
    if resumed:
        yield f"{resumed} of {how_many(len(everything), 'run')} were interrupted and resumed, so their times are left out"
    if state.get("several"):
        yield "several runs were trained side by side, so training times are longer than they would be alone"
    if study.switches and len(study.seeds) < 2:
        yield "one seed gives no intervals, so changes of training time and of memory are left out (–); give --seeds 2 or more"
    if not state["peaks"]:
        yield "this system cannot measure peak memory per run, so memory is left out"
    machines = sorted({came_out.machine for came_out in everything})
    if len(machines) > 1:
        listed = "; ".join(machines)
        yield f"the runs were made on {len(machines)} machines or versions, so their times cannot be compared: {listed}"
    if state["inference"] is not None and state["inference"]["disturbed"]:
        yield "other processes were busy during timing, so inference times are not reliable"
    if study.time_limit_s is not None:
        epochs = state["epochs"].get("", study.base.recipe.epochs)
        yield (
            f"{how_many(epochs, 'epoch fits', plural='epochs fit')} into the time limit of "
            f"{study.time_limit_s:g} s for the baseline, and are used for all switches"
        )
    missing = without({name for came_out in everything for name in came_out.uncounted})
    if missing:
        yield missing
    variants = study.variants(state["epochs"])
    for rival in study.rivals:
        name = next(each.name for each in variants if each.rival == rival.name and each.share == 1)
        times = [[run.time_s for run in found[each].values() if run.time_s is not None] for each in (BASE, name)]
        if all(times):
            ours, theirs = map(fmean, times)
            epochs = state["epochs"][rival.name]
            yield (
                f"{rival.name} was trained for {how_many(epochs, 'epoch')}, for equal training time: {theirs:.0f} s, and "
                f"{ours:.0f} s for the baseline"
            )
