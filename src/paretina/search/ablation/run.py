"""Runs an ablation study: measures what each refinement of a recipe gains and costs.

All variants are trained with every seed, seed by seed and in a different order each time, so that drift of the machine affects
X are ordinary run directories, `DIR/runs/NAME/SEED`; `DIR/study.json` has the settings and the number of
looks at the verdicts. Finished runs are read, interrupted ones are resumed, and a study can be extended by seeds, switches,
data fractions and networks. Nothing is removed, since verdicts must be corrected for everything that was tried.

All changes are checked before training, so that a typo costs no time.
"""

import gc
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from paretina.data.pictures import pictures_kept
from paretina.data.source import Source
from paretina.measure.inference import forward, prepared
from paretina.measure.machine import Device, Others
from paretina.measure.memory import forget_peak, give_back_freed
from paretina.measure.process import randomness_kept
from paretina.measure.timing import Turns, ratio
from paretina.model.blueprint import Model
from paretina.run import Run, TakenError, command_line, write_aside
from paretina.search.ablation.findings import (
    Findings,
    digest,
    is_over,
    looked_at,
    outcomes_of,
    read_findings,
    read_state,
    verdicts_of,
)
from paretina.search.ablation.study import BASE, Study, Variant, check, settled, with_epochs
from paretina.search.ablation.switches import Switch
from paretina.search.ablation.verdicts import LEAST_PAIRS, UNPRICED, Price, level_of_look
from paretina.search.tasks import Engine, StudyTask, sole
from paretina.spec import decode, encode, field_map
from paretina.system import cores
from paretina.text import how_many
from paretina.train import estimate, training
from paretina.train.asked import spelled_out
from paretina.train.estimate import rehearse
from paretina.train.journal import Listener
from paretina.train.ranks import Ranks
from paretina.train.resolve import prepare
from paretina.train.training import Say

REHEARSED = 8
"""Number of updates after which the speed of a network is known."""


# --- study.json -----------------------------------------------------------------------------------------------------------


def write_state(path: Path, state: dict[str, Any]) -> None:
    if Ranks.is_first():
        write_aside(path / "study.json", json.dumps(state, indent=2).encode())


def opened(path: Path, study: Study) -> tuple[Study, dict[str, Any]]:
    """The study merged with the one that is in the directory, and its state; nothing is written.

    Earlier seeds that were not begun are dropped; everything else stays.

    Raises:
        ValueError: the directory has a study of another baseline, or something else.
    """
    if not (path / "study.json").exists():
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ValueError(f"{path} is not empty and holds no study; --output must be a new directory")
        return study, {"study": encode(study), "epochs": {}, "looks": [], "inference": None, "peaks": True}
    state = read_state(path)
    old = decode(Study, state["study"])
    study = replace(study, base=replace(study.base, data=split_as(old.base.data, study.base.data)))
    ours, theirs = ({**dict(spelled_out(one.base)), "time limit": one.time_limit_s} for one in (study, old))
    for name in {**theirs, **ours}:
        if ours.get(name) != theirs.get(name):
            raise ValueError(
                f"{path} holds a study of another baseline: {name} is {theirs.get(name)} there and {ours.get(name)} here; "
                "choose another --output, or use the same baseline"
            )
    begun = [seed for seed in old.seeds if any(v.folder(path, seed).exists() for v in old.variants(state["epochs"]))]
    merged = replace(
        study,
        seeds=united(begun, study.seeds),
        switches=by_title(old.switches, study.switches),
        shares=united(old.shares, study.shares),
        noises=united(old.noises, study.noises),
        rivals=united(old.rivals, study.rivals),
        budgets=united(old.budgets, study.budgets),
    )
    return merged, {**state, "study": encode(merged)}


def split_as(old: Source, new: Source) -> Source:
    """The data, split by names alone if an earlier study was, from before copies were kept together by default."""
    if {"copies", "moved"} <= field_map(type(new)).keys() and replace(new, copies="anywhere") == old:  # type: ignore[call-arg]
        return old
    return new


def united(old: Sequence[Any], new: Sequence[Any]) -> tuple[Any, ...]:
    return (*old, *(each for each in new if each not in old))


def by_title(old: Sequence[Switch], new: Sequence[Switch]) -> tuple[Switch, ...]:
    known = {switch.title: switch for switch in old}
    for switch in new:
        if known.get(switch.title, switch) != switch:
            raise ValueError(f"{switch.title} is another switch in this study already: {' '.join(known[switch.title].fields)}")
    return united(old, new)


# --- the runs ------------------------------------------------------------------------------------------------------------


@randomness_kept()
def run_study(
    path: Path,
    study: Study,
    price: Price = UNPRICED,
    final: bool = False,
    say: Say = lambda text: None,
    listen: Listener = lambda line: None,
    save_every: float = 60.0,
    engine: Engine | None = None,
) -> Findings:
    """Trains what is not trained yet, and computes the verdicts.

    Args:
        path: the directory of the study; new, or to be continued.
        price: what accuracy may cost. Another price counts as another look.
        final: whether this is the last look at the verdicts, which then spends all of the remaining error rate.
        say: called with each note and each run.
        listen: called with each line of the logs.
        save_every: seconds between checkpoints.
        engine: what carries out the trainings; None for this process.

    Raises:
        ValueError: a variant cannot be trained, or the study had its last look; nothing was trained.
        KeyboardInterrupt: interrupted; the same call resumes it.
    """
    study, state = opened(path, replace(study, base=settled(study.base)))
    state["command"] = command_line()
    check(study)
    if state["looks"] and looked_at(study, price) != state["looks"][-1]["of"]:
        level_of_look(state["looks"][-1]["spent"])
    if study.switches and len(study.seeds) < LEAST_PAIRS:
        few = how_many(len(study.seeds), "seed")
        say(
            f"a verdict needs {LEAST_PAIRS} pairs of runs, one for each seed, and this study has {few}; "
            f"give --seeds {LEAST_PAIRS} or more"
        )
    path.mkdir(parents=True, exist_ok=True)
    write_state(path, state)
    state["epochs"] = fitted(study, state["epochs"], say)
    write_state(path, state)
    with pictures_kept():
        if engine is None or not engine.several:
            train_all(path, study, state, say, listen, save_every)
        else:
            with sole(path):
                train_several(path, study, state, say, save_every, engine)
    if Ranks.is_first():
        state["inference"] = inference(path, study, state, say)
        look(path, study, state, price, final)
    return read_findings(path)


def train_all(path: Path, study: Study, state: dict[str, Any], say: Say, listen: Listener, save_every: float) -> None:
    """Trains what is not trained yet."""
    jobs = study.jobs(state["epochs"])
    if not all(is_over(variant.folder(path, seed)) for variant, seed in jobs):
        prepare(study.base)  # reads the pictures, so that decoding does not count as memory of the first run
    for number, (variant, seed) in enumerate(jobs, 1):
        folder = variant.folder(path, seed)
        if is_over(folder):
            continue
        say(f"run {number} of {len(jobs)}: {variant.named or BASE}, seed {seed}")
        state["peaks"] = fresh_peak(variant.asked.plan.device) and state["peaks"]
        write_state(path, state)
        train_one(variant, seed, folder, say, listen, save_every)


def train_several(path: Path, study: Study, state: dict[str, Any], say: Say, save_every: float, engine: Engine) -> None:
    """Trains what is not trained yet, side by side."""
    tasks = []
    for variant, seed in study.jobs(state["epochs"]):
        plan, folder = variant.asked.plan, variant.folder(path, seed)
        there = folder.relative_to(path).as_posix()
        task = StudyTask(
            f"{variant.name}-{seed}",
            train_variant,
            {"variant": variant.name, "seed": seed, "save_every": save_every},
            cores=plan.threads or cores(),
            gpus=1.0 if plan.device_type == "cuda" else 0.0,
            leaves=(f"{there}/result.json", f"{there}/failed.json"),
        )
        if not task.is_done(path):
            tasks.append(task)
    if tasks:
        write_state(path, {**state, "several": True})
        state["several"] = True
        engine.run(tasks, path, say)


@randomness_kept()
def train_variant(path: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Trains or resumes one run of a study, in whatever process."""
    state = read_state(path)
    study = decode(Study, state["study"])
    variant = next(each for each in study.variants(state["epochs"]) if each.name == given["variant"])
    folder = variant.folder(path, given["seed"])
    fresh_peak(variant.asked.plan.device)
    with pictures_kept():
        train_one(variant, given["seed"], folder, lambda text: None, lambda line: None, given["save_every"])
    return {}


def train_one(variant: Variant, seed: int, folder: Path, say: Say, listen: Listener, save_every: float) -> None:
    """Trains or resumes one run; a loss that is not finite is its outcome."""
    try:
        if (folder / "asked.json").exists():
            training.resume(folder, None, listen, save_every=save_every)
        else:
            training.train(variant.at(seed), folder, None, listen, save_every=save_every)
    except TakenError:
        raise TakenError(
            f"another process is working on {folder}; wait until it is done, or stop it, and then run the same command again"
        ) from None
    except FloatingPointError as error:
        say(f"{variant.named or BASE}, seed {seed}, failed: {error}")
        if Ranks.is_first():
            Run(folder).write("failed.json", {"reason": str(error)})


def fitted(study: Study, known: Mapping[str, float], say: Say) -> dict[str, float]:
    """The epochs of each network that fit into the time, if not known yet."""
    found = dict(known)
    wanted = [rival for rival in study.rivals if rival.name not in found]
    if not wanted and (study.time_limit_s is None or "" in found):
        return found
    base = prepare(with_epochs(study.base, found.get("")))
    if study.time_limit_s is not None and "" not in found:
        base, said = estimate.fit_to_time(base, study.time_limit_s)
        found[""] = base.recipe.epochs
        say(said)
    if wanted:
        pace = rehearse(base, REHEARSED).update_s
        for rival in wanted:
            other = prepare(replace(study.base, model=rival.model, model_name=rival.name))
            found[rival.name] = round(base.recipe.epochs * pace / rehearse(other, REHEARSED).update_s, 2) or 0.01
            say(
                f"{rival.name} is trained for {how_many(found[rival.name], 'epoch')}, which take as long as "
                f"{base.recipe.epochs:g} of the baseline"
            )
    return found


def fresh_peak(device: str) -> bool:
    """Resets the peak memory for the next run; returns whether the system can do that."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return True
    gc.collect()
    give_back_freed()
    return device.startswith("cpu") and forget_peak()


def look(path: Path, study: Study, state: dict[str, Any], price: Price, final: bool) -> None:
    """Records a look at the verdicts, and its results."""
    looks, of = state["looks"], looked_at(study, price)
    if study.switches and not (looks and looks[-1]["of"] == of):
        spent = looks[-1]["spent"] if looks else 0.0
        level = level_of_look(spent, final)
        looks.append({"of": of, "level": level, "spent": spent + level, "final": final, "told": {}})
    elif looks and final and not looks[-1]["final"]:
        # a final look at the same runs: all of the remaining error rate is added to this look
        left = level_of_look(looks[-1]["spent"], final)
        looks[-1].update(level=looks[-1]["level"] + left, spent=looks[-1]["spent"] + left, final=True)
    if looks:
        verdicts = verdicts_of(study, state, *outcomes_of(path, study, state))
        looks[-1]["told"] = {each.name: each.verdict for each in verdicts if each.verdict != "cannot tell yet"}
    write_state(path, state)


# --- inference -----------------------------------------------------------------------------------------------------------


def inference(path: Path, study: Study, state: dict[str, Any], say: Say, turns: Turns | None = None) -> dict[str, Any] | None:
    """The inference time per image of each variant by name, and its ratio to the baseline, if the networks differ.

    Different networks are timed in alternation, with fresh weights and in float32; None if all are the same network.
    """
    variants = [v for v in study.variants(state["epochs"]) if v.name == BASE or v.switch or (v.rival and v.share == 1)]
    found = {variant.name: network_of(path, variant, study.seeds) for variant in variants}
    encoded = {name: text for name, text in found.items() if text is not None}
    if BASE not in encoded:
        return None
    different = dict.fromkeys(encoded.values())
    if len(different) == 1:
        return None
    models = {name: digest(text) for name, text in encoded.items()}
    done = state["inference"]
    if done is not None and done["models"] == models:
        return dict(done)
    device = Device.here(study.base.plan.device)
    plan = replace(study.base.plan, precision="float32", compile=False)
    say(f"timing inference of {how_many(len(different), 'network')}")
    steps = {}
    for text in different:
        model = decode(Model, json.loads(text))  # type: ignore[type-abstract]
        torch.manual_seed(0)
        side = model.resolution
        steps[text] = forward(prepared(model.build(), plan), plan, torch.zeros(1, 3, side, side))
    others = Others()
    timed = (turns or Turns(seconds=5.0 * len(steps), wait=device.wait)).run(steps)
    used = others.used()
    base = timed[encoded[BASE]]
    return {
        "models": models,
        "device": device.to_dict(),
        "ms": {name: timed[text].p50._asdict() for name, text in encoded.items()},
        "ratios": {name: ratio(timed[text], base)._asdict() for name, text in encoded.items() if text != encoded[BASE]},
        "disturbed": others.disturbed(used),
    }


def network_of(path: Path, variant: Variant, seeds: Sequence[int]) -> str | None:
    """The trained network of a variant, as JSON; None until a run of it is finished."""
    folders = (variant.folder(path, seed) for seed in seeds)
    return next((json.dumps(Run(folder).asked()["model"]) for folder in folders if (folder / "result.json").exists()), None)
