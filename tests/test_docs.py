"""What the pages show is what happens: code runs, outputs agree, commands exist, links lead somewhere."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

import paretina
from paretina import verbs
from paretina.cli import main
from paretina.train.asked import assignment

ROOT = Path(__file__).resolve().parent.parent


def script(name):
    """A module of scripts/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


pages = script("pages")
WRITTEN = pages.pages()
GENERATED = sorted((ROOT / "docs" / "reference").glob("*.md"))
ADDING = ROOT / "docs" / "adding.md"
INSIDE = "PAGE_TREE" in os.environ
"""Whether this is the copy of the repository that has the files of `adding.md`."""

every_page = pytest.mark.parametrize("page", [*WRITTEN, *GENERATED], ids=lambda page: str(page.relative_to(ROOT)))


# --- code and output --------------------------------------------------------------------------------------------------------


ELSEWHERE = ("shipping.md",)
"""Pages whose code needs a shipped file: tests/ship/test_shipping.py runs it."""


@pytest.mark.parametrize(
    "page",
    [page for page in WRITTEN if page.name not in ELSEWHERE and (page != ADDING or INSIDE)],
    ids=lambda page: page.name,
)
def test_the_code_of_a_page_runs_and_prints_what_the_page_shows(page):
    with pages.folder_with_pictures():
        for output in pages.outputs(page):
            assert pages.same(output.block.text, output.printed), f"run make docs; now it is\n{output.printed}"


CONTRACTS = (
    *("assemblies", "blocks", "examples", "judges", "networks", "objectives", "tasks", "terms", "traits", "transforms"),
)


@pytest.mark.slow
def test_what_adding_shows_satisfies_the_contracts_and_its_own_tests(tmp_path):
    pages.write_tree(ADDING, tmp_path)
    files = pages.files_of(ADDING)
    own = [path for path in files if path.startswith("tests/")]
    names = re.findall(r'^EXAMPLES = \((\w+)\(|Published\("(\w+)"', "\n".join(files.values()), re.MULTILINE)
    shown = ["".join(name) for name in names]
    assert len(shown) == len(files) - len(own) == 9
    contracts = [f"tests/contracts/test_{name}.py" for name in CONTRACTS]
    contracts += ["tests/model/families/test_families.py", "tests/test_docs.py"]
    chosen = " or ".join([*shown, *(Path(path).stem for path in own), "every_kind", "every_file", "adding.md"])
    arguments = ["-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", chosen, *contracts, *own]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src"), "PAGE_TREE": str(tmp_path)}
    # annotations are checked in the new files alone, which spares half the time
    new = [path.removeprefix("src/").removesuffix(".py").replace("/", ".") for path in files if path not in own]
    conftest = (tmp_path / "tests" / "conftest.py").read_text()
    (tmp_path / "tests" / "conftest.py").write_text(conftest.replace('"paretina"', repr(new)))
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = --import-mode=importlib\npythonpath = tests\nmarkers = slow\nfilterwarnings = error\n"
    )
    ended = subprocess.run([sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for name in [*shown, *own, "adding.md"]:
        assert re.search(rf"{name}.* PASSED", ended.stdout), f"no test ran over {name}"


def test_outputs_agree_to_the_last_digit_shown():
    assert pages.same("loss 2.94, 3 classes\n", "loss 2.95, 3 classes\n")
    assert not pages.same("loss 2.94, 3 classes\n", "loss 2.96, 3 classes\n")
    assert not pages.same("loss 2.94, 3 classes\n", "loss 2.94, 4 classes\n")
    assert not pages.same("loss 2.94\n", "loss 2.94\nmore\n")


@every_page
def test_every_fence_says_what_its_block_is(page):
    # a misspelt language would take a block out of these tests
    text = page.read_text()
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(pages.blocks(page))
    assert {block.language for block in pages.blocks(page)} <= {"python", "text", "console", "sh"}


# --- commands ---------------------------------------------------------------------------------------------------------------


def parsed(arguments):
    """The command that the words call, with its parameters.

    Raises:
        click.UsageError: there is no such command or option.
    """
    command, context = main, click.Context(main, info_name="paretina")
    while isinstance(command, click.Group):
        name, command, arguments = command.resolve_command(context, arguments)
        context = click.Context(command, info_name=name, parent=context)
    return name, command.make_context(name, list(arguments), parent=context.parent).params


def typed(page):
    return [shlex.split(line) for block in pages.blocks(page) if block.language == "sh" for line in pages.commands(block)]


@every_page
def test_commands_options_and_fields_exist(page):
    for program, *arguments in typed(page):
        if program != "paretina":
            continue
        name, given = parsed(arguments)
        if name == "train" and (page != ADDING or INSIDE):
            fields = dict(assignment(text) for text in given["fields"])
            data = given["source"] if any(name.startswith("data.") for name in fields) else "clipart"
            verbs.ask(data, given["model"] or "resnet18", given["recipe"], given["weights"] or "none", fields=fields)


def test_a_misspelt_command_would_be_found():
    with pytest.raises(click.UsageError, match="did you mean 'train'"):
        parsed(["trian", "photos/"])
    with pytest.raises(click.UsageError, match="No such option"):
        parsed(["show", "resnet18", "--tabel"])


@every_page
def test_targets_of_make_exist(page):
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"test", "demo"} <= set(targets)
    assert {words[1] for words in typed(page) if words[0] == "make"} <= set(targets)


# --- nothing is missing -------------------------------------------------------------------------------------------------------


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    text = pages.FENCE.sub("", page.read_text())
    return {re.sub(r"[^\w\- ]", "", line).strip().replace(" ", "-").lower() for line in re.findall(r"^#+ (.*)", text, re.M)}


@every_page
def test_links_lead_somewhere(page):
    text = re.sub(r"`[^`]*`", "", pages.FENCE.sub("", page.read_text()))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(found), f"{page.name}: {target}"


def test_the_generated_pages_are_up_to_date():
    old = script("reference").outdated()
    assert not old, "run make docs"


def test_every_kind_of_plug_in_has_a_page():
    package = Path(paretina.__file__).parent
    declared = {
        found
        for file in package.rglob("*.py")
        for found in re.findall(r"^    PLUGINS = \(\"([\w.]+)\",", file.read_text(), re.M)
    }
    shown = {base.PLUGINS[0] for base, _ in script("reference").PAGES.values()}
    assert declared - shown == {"paretina.model.blueprint"}, "a network is described on the pages of its parts"
    assert len(declared) > 20


def test_every_public_name_has_an_entry():
    words = set(re.findall(r"\w+", "\n".join(page.read_text() for page in [*WRITTEN, *GENERATED])))
    names = [*getattr(paretina, "__all__", ()), *verbs.__all__]
    assert not [name for name in names if name not in words]


def test_the_architecture_names_every_folder():
    page = (ROOT / "docs" / "architecture.md").read_text()
    package = Path(paretina.__file__).parent
    folders = {path.parent.relative_to(package.parent.parent) for path in package.rglob("*.py")}
    assert not [folder for folder in folders if f"`{folder.as_posix()}/`" not in page]


def test_ci_runs_the_tests_then_the_slow_ones_and_nothing_else():
    path = ROOT / ".ci" / "run"
    assert os.access(path, os.X_OK)
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith(("#", "set ", "cd "))]
    assert lines == ["make test", "exec make test-slow"]
