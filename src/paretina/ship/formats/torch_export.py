"""torch.export: torch's own file of one graph, for programs that have torch but not this library.

To open such a file torch evaluates expressions in it, so a file from elsewhere can run code. It is opened only where the caller
says that it is trusted.
"""

import io
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from paretina.measure.inference import round_weights
from paretina.measure.process import threaded
from paretina.run import write_aside
from paretina.ship.export import exported, quiet
from paretina.ship.format import Calibration, Format, Runner, Running
from paretina.ship.header import KEY, Header, read
from paretina.ship.whole import Whole


class TorchExport(Format):
    NAME = "torch-export"
    SUFFIX = ".pt2"
    EXTRA = ""
    MODULES = ()
    PRECISIONS = {"float32": "exact up to rounding", "bfloat16": "weights and arithmetic, but for pixels and the classifier"}
    RUNS_CODE = True

    def write(self, whole: Whole, path: Path, header: Header, calibration: Calibration | None = None) -> Header:
        if header.precision == "bfloat16":
            round_weights(whole.network, torch.bfloat16)
        program = exported(whole)
        found = io.BytesIO()
        with quiet():
            torch.export.save(program, found, extra_files={KEY: header.text()})
        write_aside(path, found.getvalue())
        return header

    def header(self, path: Path) -> Header:
        try:
            with zipfile.ZipFile(path) as file:
                name = next((each for each in file.namelist() if each.endswith(f"extra/{KEY}")), None)
                if name is not None and file.getinfo(name).file_size > 64 << 20:
                    raise ValueError("its description has over 64 MB")
                return read(path, None if name is None else file.read(name).decode("utf-8", "replace"))
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"{path} is not a file of torch.export, or was truncated: {error}") from None

    def amended(self, path: Path, header: Header) -> None:
        found = io.BytesIO()
        with quiet():
            torch.export.save(torch.export.load(path), found, extra_files={KEY: header.text()})
        write_aside(path, found.getvalue())

    def open(self, path: Path, threads: int | None = None) -> Running:
        header = self.header(path)
        try:
            with quiet():
                module = torch.export.load(path).module()
        except Exception as error:  # a damaged file can make torch raise almost any exception
            raise ValueError(f"{path} is not a model that torch can load: {' '.join(str(error).split())[:300]}") from None

        def output(number: int) -> Runner:
            def run(images: Tensor) -> Tensor:
                with threaded(threads), torch.inference_mode():
                    found: Tensor = module(images)[number]
                return found.float()

            return run

        features = None if header.about.task.DENSE or header.about.task.BOXES else output(1)
        return Running(path, header, output(0), features, f"torch {torch.__version__}")


FORMAT = TorchExport()
