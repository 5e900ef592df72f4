"""Function matching: the gap between student and teacher against the length of the run, beside a fixed teacher and labels.

    python benchmarks/folder_sets.py sets fashion2k fashion20k
    python benchmarks/teachers.py found.jsonl --sets sets --seeds 3
    python benchmarks/teachers.py found.jsonl --report

The teacher learns from 20,000 pictures of Fashion-MNIST, students from 1,000 of them at 14 pixels, all judged on 10,000. Arms,
of equal length each: the recipe `distill` (the teacher sees the student's blended view); a fixed teacher, whose answers were
computed once from the plain pictures; and labels. Each student is a line of the results file and is not trained again. Beside
top-1 stands the divergence from the teacher's answers on the 10,000 pictures, which is the sharper figure.
"""

import argparse
import json
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from paretina import verbs
from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.pictures import read_pictures
from paretina.data.sources.folder import Folder
from paretina.data.sources.part import Part
from paretina.measure.evaluate import Evaluation
from paretina.measure.plan import Plan, machine
from paretina.measure.statistics import mean_interval
from paretina.model.weights import load_model
from paretina.shapes import Loss
from paretina.train.objective import Outputs, Teacher, Term, TermFn
from paretina.train.objectives.supervised import Supervised
from paretina.train.terms.cross_entropy import CrossEntropy

SIDE = 14
STUDENT, TEACHER = "resnet8_w16_s2", "resnet8_w32_s2"
USUAL = {"size": SIDE, "model.resolution": SIDE, "batch_size": 64, "threads": 1, "workers": 0, "test.every": 1000.0}
SQUASH = [{"kind": "Squash"}, {"kind": "RandomShift"}, {"kind": "HorizontalFlip"}]
MIXED = [*SQUASH, {"kind": "MixUp", "alpha": {"kind": "Constant", "value": 1.0}}]


@dataclass(frozen=True, kw_only=True)
class FixedTeacher(Term):
    """Answers that were computed once, by the number of each picture."""

    TEACHER: ClassVar[bool] = False
    path: str
    temperature: float

    def make(self, teacher: Teacher | None) -> TermFn:
        answers = torch.load(self.path, weights_only=True)

        def term(outputs: Outputs, batch: Batch, clock: Clock) -> Loss:
            wanted = (answers[batch.ids.cpu()] / self.temperature).log_softmax(1)
            given = (outputs.logits / self.temperature).log_softmax(1)
            return self.temperature**2 * F.kl_div(given, wanted, log_target=True, reduction="batchmean")

        return term


def logits_of(model: Path, collection: Any, split: str) -> torch.Tensor:
    network, _ = load_model(model)
    pictures = read_pictures(collection, collection.split(split))
    plan = Plan(threads=1)
    plan.place(network)
    logits, _ = Evaluation(pictures, network.model.preprocessing, network.model.resolution, 10, plan).run(network, 0)
    return logits


def teacher_in(place: Path, sets: Path, epochs: float) -> Path:
    """The teacher, trained now unless it is there."""
    if not (place / "model.safetensors").exists():
        fields = {**USUAL, "epochs": epochs, "lr": 1e-2, "transforms": MIXED}
        choice = verbs.ask(str(sets / "fashion20k"), TEACHER, "scratch", "none", "cpu", fields=fields)
        verbs.start(choice, place)
    return place / "model.safetensors"


def student(arm: str, teacher: Path, data: Part, epochs: float, seed: int, temperature: float, place: Path) -> Path:
    fields: dict[str, Any] = {**USUAL, "epochs": epochs, "seed": seed, "lr": 1e-2, "transforms": MIXED}
    if arm == "same view":
        fields["objective.terms.Distill.temperature"] = temperature
        choice = verbs.ask_distilled(teacher, data, STUDENT, weights="none", device="cpu", fields=fields)
    else:
        choice = verbs.ask(data, STUDENT, "distill", "none", "cpu", fields={**fields, "teacher": str(teacher)})
        terms: tuple[Term, ...] = (CrossEntropy(),)
        transforms = choice.asked.recipe.transforms
        if arm == "fixed teacher":
            answers = place.with_suffix(".pt")
            torch.save(logits_of(teacher, data.open(), "train"), answers)
            terms, transforms = (FixedTeacher(path=str(answers), temperature=temperature),), transforms[:-1]
        recipe = replace(choice.asked.recipe, teacher=None, objective=Supervised(terms=terms), transforms=transforms)
        choice.asked = replace(choice.asked, recipe=recipe)
    return verbs.start(choice, place).path / "model.safetensors"


def reported(rows: list[dict[str, Any]]) -> None:
    lengths = sorted({row["epochs"] for row in rows})
    print(f"| | {' | '.join(f'{length:g} epochs' for length in lengths)} |")
    print(f"|---|{'---|' * len(lengths)}")
    for what, title, digits in (("top1", "top-1 %", 2), ("divergence", "KL to the teacher", 3), ("cpu_s", "cpu s", 0)):
        for arm in dict.fromkeys(row["arm"] for row in rows):
            cells = []
            for length in lengths:
                found = [row[what] for row in rows if row["arm"] == arm and row["epochs"] == length]
                if len(found) > 1:
                    value, low, high = mean_interval(found)
                    cells.append(f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}] ({len(found)})")
                else:
                    cells.append(f"{statistics.mean(found):.{digits}f} (1)" if found else "-")
            print(f"| {title}, {arm} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("found", type=Path)
    parser.add_argument("--sets", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lengths", type=float, nargs="+", default=[15, 45, 135, 405])
    parser.add_argument("--temperature", type=float, default=2.0)
    parser.add_argument("--teacher-epochs", type=float, default=15.0)
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.found.read_text().splitlines()] if options.found.exists() else []
    if not options.report:
        torch.set_num_threads(1)
        work = options.found.with_suffix("")
        work.mkdir(parents=True, exist_ok=True)
        teacher = teacher_in(work / "teacher", options.sets, options.teacher_epochs)
        data = Part(source=Folder(path=str(options.sets / "fashion2k")), share=0.5)
        collection = data.open()
        wanted = logits_of(teacher, collection, "val").log_softmax(1)
        labels = torch.tensor([sample.label for sample in collection.split("val")])
        print(f"teacher: {100 * float((wanted.argmax(1) == labels).float().mean()):.2f} %", flush=True)
        for seed in range(options.seeds):
            for epochs in options.lengths:
                for arm in ("same view", "fixed teacher", "labels"):
                    if any((row["arm"], row["epochs"], row["seed"]) == (arm, epochs, seed) for row in rows):
                        continue
                    began = time.process_time()
                    place = work / f"{arm.replace(' ', '-')}-{epochs:g}-{seed}"
                    made = student(arm, teacher, data, epochs, seed, options.temperature, place)
                    took = time.process_time() - began
                    given = logits_of(made, collection, "val").log_softmax(1)
                    row = {
                        "arm": arm,
                        "epochs": epochs,
                        "seed": seed,
                        "top1": 100 * float((given.argmax(1) == labels).float().mean()),
                        "divergence": float(F.kl_div(given, wanted, log_target=True, reduction="batchmean")),
                        "cpu_s": took,
                    }
                    rows.append(row)
                    with options.found.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    print(row, flush=True)
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores, torch {here['torch']}")
    reported(rows)


if __name__ == "__main__":
    main()
