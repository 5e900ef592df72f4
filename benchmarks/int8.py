"""int8 files of trained networks: size, latency, loss with its interval, verdict.

    pip install 'paretina[onnx,openvino]'
    python benchmarks/int8.py int8 --networks efficientnet_lite0 efficientnet_b0 resnet50 --formats openvino onnx

Each network is trained on `shapes`, whose validation split can have any number of pictures, unless it is there already; then
`paretina ship` makes its files in float32 and int8. Latency is of one picture, in turn with the trained network and, in
OpenVINO, with bfloat16; run that part alone (`--ship`).
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from paretina.measure.plan import machine

RECIPE = ["--weights", "none", "--recipe", "fast", "workers=0", "data.difficulty=0.0", "lr=0.003"]


def trained(out: Path, name: str, options: argparse.Namespace) -> Path:
    run = out / name
    if not (run / "result.json").exists():
        words = ["train", "shapes", "--model", name, *RECIPE, f"threads={options.threads}", f"size={options.size}"]
        words += [f"model.resolution={options.size}", f"epochs={options.epochs}", f"data.per_class={options.per_class}"]
        words += [f"data.val_per_class={options.pictures // 10}", "test.every=1000", "--output", str(run)]
        with (out / f"{name}.log").open("w") as log:
            subprocess.run([sys.executable, "-m", "paretina", *words], check=True, stdout=log, stderr=log)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--networks", nargs="+", default=["efficientnet_lite0", "efficientnet_b0", "resnet50", "efficientnetv2_s"]
    )
    parser.add_argument("--formats", nargs="+", default=["openvino", "onnx"])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=float, default=8.0)
    parser.add_argument("--per-class", type=int, default=200)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--train", action="store_true", help="only train")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    runs = {name: trained(options.out, name, options) for name in options.networks}
    if options.train:
        return
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores, torch {here['torch']}\n")
    print("| network | format | precision | MB | p50 ms | top-1 % before | after | points [95 %] | verdict |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, run in runs.items():
        for to in options.formats:
            for precision in ("float32", "int8"):
                file = options.out / f"{name}-{precision}.{to}"
                suffix = {"openvino": ".ovz", "onnx": ".onnx"}[to]
                file = file.with_suffix(suffix)
                file.unlink(missing_ok=True)
                words = ["ship", str(run), "--to", to, "--precision", precision, "--out", str(file), "--json"]
                words += ["--seconds", f"{options.seconds:g}", "--pictures", f"{options.pictures}"]
                said = subprocess.run([sys.executable, "-m", "paretina", *words], capture_output=True, text=True, check=False)
                found = json.loads(said.stdout)
                gate = found.get("gate")
                if gate is None:
                    print(f"| {name} | {to} | {precision} | | | | | | {found.get('error')} |", flush=True)
                    continue
                (options.out / f"{name}-{to}-{precision}.json").write_text(json.dumps(found, indent=1))
                before, after, gained = gate["before"], gate["after"], gate["gained"]
                points = f"{gained['value']:+.2f} [{gained['low']:+.2f}, {gained['high']:+.2f}]"
                cells = [f"{found['bytes'] / 1e6:.2f}", f"{gate['timing'].get('after_p50_ms', 0):.2f}"]
                cells += [f"{before['value']:.1f}", f"{after['value']:.1f}", points, gate["verdict"]]
                print(f"| {name} | {to} | {precision} | {' | '.join(cells)} |", flush=True)
                if rivalry := found.get("against_floats"):
                    print(f"|  | {to} | bfloat16 beside int8 | | {json.dumps(rivalry)} | | | | |", flush=True)


if __name__ == "__main__":
    main()
