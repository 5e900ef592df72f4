"""Pages: runs the code blocks of README.md and docs/, and writes what they print beneath them.

    python scripts/pages.py                     # all pages
    python scripts/pages.py docs/trace.md       # one
    python scripts/pages.py --check README.md   # writes nothing; says what differs

What a fence says decides what happens to its block:

    python   runs, all of a page in one namespace; a `text` block right behind it holds what it prints
    python   with a first line such as `# src/paretina/model/blocks/fire.py` is that file, for the other blocks to find
    console  lines that start with `$ ` are commands of paretina, the lines behind each are its output
    sh       is for people to type; tests run those of README.md on tiny data, of others they look whether all words exist

Blocks run in a folder of their own with a few pictures in it: `photos/`, `a.jpg`, `b.png` and `folder/`.
"""

import argparse
import contextlib
import io
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ((?:src|tests)/\S+\.py)\n\n?")
NUMBER = re.compile(r"\d+\.\d+")
CLASSES = ("disc", "gear", "ring")
"""Of the pictures in `photos/`."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        span: where its text begins and ends in the page.
        behind: whether nothing but blank lines stands between it and the block before.
    """

    language: str
    text: str
    span: tuple[int, int]
    behind: bool

    @property
    def path(self) -> str | None:
        """The file that the block is, if its first line names one."""
        found = FILE.match(self.text) if self.language == "python" else None
        return found.group(1) if found else None


@dataclass(frozen=True)
class Output:
    """What a block prints, beside what the page shows."""

    block: Block
    printed: str


def pages() -> list[Path]:
    """The pages that people write; those in docs/reference are written by reference.py."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> list[Block]:
    text, found, end = page.read_text(), [], 0
    for match in FENCE.finditer(text):
        found.append(Block(match[1], match[2], match.span(2), not text[end : match.start()].strip()))
        end = match.end()
    return found


def outputs(page: Path) -> Iterator[Output]:
    """Runs a page in the current folder."""
    module = types.ModuleType(f"page_{page.stem}")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    found = blocks(page)
    for block, following in itertools.zip_longest(found, found[1:]):
        if block.language == "python" and block.path is None:
            line = page.read_text()[: block.span[0]].count("\n")
            code = compile("\n" * line + block.text, str(page), "exec")
            caught = io.StringIO()
            with contextlib.redirect_stdout(caught):
                exec(code, vars(module))
            if following is not None and following.language == "text" and following.behind:
                yield Output(following, caught.getvalue())
        elif block.language == "console":
            yield Output(block, "".join(f"$ {command}\n{said(command)}" for command in commands(block)))


def commands(block: Block) -> list[str]:
    """The command lines of a block that a person types; continued ones are joined."""
    text = block.text.replace("\\\n", " ")
    if block.language == "console":
        return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
    return [line.partition("  #")[0].strip() for line in text.splitlines() if line and not line.startswith("#")]


def said(command: str) -> str:
    """What a command of paretina prints; run in this process, since every other one would import torch anew."""
    from click.testing import CliRunner

    from paretina.cli import main

    program, *arguments = shlex.split(command)
    if program != "paretina":
        raise ValueError(f"a console block can only run paretina, got {command!r}; use sh for what is not to be run")
    result = CliRunner().invoke(main, arguments, catch_exceptions=False, prog_name="paretina")
    if result.exit_code:
        raise ValueError(f"{command!r} ended with {result.exit_code}: {result.output}")
    return result.stdout


def same(shown: str, printed: str) -> bool:
    """Whether two outputs agree: words, whole numbers and spaces exactly, decimals to one unit of the last digit shown."""
    if NUMBER.sub("#", shown) != NUMBER.sub("#", printed):
        return False
    for one, other in zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True):
        unit = 10.0 ** -len(one.partition(".")[2])
        if abs(float(one) - float(other)) > 1.5 * unit:
            return False
    return True


def refreshed(page: Path, found: list[Output]) -> str:
    """The page with the outputs put in."""
    text = page.read_text()
    for output in reversed(found):
        start, end = output.block.span
        text = text[:start] + output.printed + text[end:]
    return text


# --- where blocks run -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def folder_with_pictures() -> Iterator[Path]:
    """Makes a folder with the pictures that the pages speak of and goes there."""
    from PIL import Image

    from paretina.data.sources.shapes import Shapes

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        drawn = Shapes(per_class=4, val_per_class=2, size=48, difficulty=0.0).open()
        samples = [each for split in drawn.splits.values() for each in split if drawn.classes[each.label] in CLASSES]
        files = {f"photos/{sample.name}.png": sample for sample in samples}
        first = drawn.split("val")[0]
        for path, sample in {**files, "a.jpg": first, "b.png": first, "folder/c.png": first}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn.image(sample).permute(1, 2, 0).numpy()).save(folder / path)
        with contextlib.chdir(folder):
            yield folder


def files_of(page: Path) -> dict[str, str]:
    """The files that a page holds, by their paths in the repository."""
    return {block.path: FILE.sub("", block.text, count=1) for block in blocks(page) if block.path}


def write_tree(page: Path, root: Path) -> None:
    """Copies the repository and adds the files of a page.

    Raises:
        ValueError: the repository has such a file already.
    """
    for part in ("src", "tests", "scripts", "docs"):
        shutil.copytree(ROOT / part, root / part)  # with what Python compiled before, which saves seconds
    for name in ("README.md", "Makefile"):
        shutil.copy(ROOT / name, root)
    for path, text in files_of(page).items():
        if (root / path).exists():
            raise ValueError(f"{page.name} adds {path}, but there is one already; show another example")
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the code of pages and writes what it prints beneath it.")
    parser.add_argument("pages", nargs="*", type=Path, default=pages())
    parser.add_argument("--check", action="store_true", help="write nothing, fail where an output differs")
    chosen = parser.parse_args()
    different = 0
    for page in (page.resolve() for page in chosen.pages):
        if files_of(page) and "PAGE_TREE" not in os.environ:  # a package that is imported already would not find them
            with tempfile.TemporaryDirectory() as name:
                write_tree(page, Path(name))
                environment = {**os.environ, "PAGE_TREE": name, "PYTHONPATH": f"{name}/src"}
                arguments = [sys.executable, __file__, str(page), *(["--check"] if chosen.check else [])]
                different += subprocess.run(arguments, env=environment).returncode
            continue
        with folder_with_pictures():
            found = list(outputs(page))
        for output in found:
            if not same(output.block.text, output.printed):
                different += chosen.check
                print(f"{page.name} now prints:\n{output.printed}", file=sys.stderr)
        if not chosen.check:
            page.write_text(refreshed(page, found))
    return min(different, 1)


if __name__ == "__main__":
    sys.exit(main())
