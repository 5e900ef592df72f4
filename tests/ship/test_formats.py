"""Every format against every family and kind of model, from pixels, in the format's own runtime."""

import functools
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

import paretina.model
from paretina.data.preprocess import preprocess
from paretina.model.activations.pointwise import GELU, ReLU
from paretina.model.activations.rprelu import RPReLU
from paretina.model.assemblies.divide import Ensemble
from paretina.model.blocks.convnext import ConvNeXt
from paretina.model.blocks.encoder import Encoder
from paretina.model.blocks.resnet import Basic
from paretina.model.blueprint import Activation, Block, Chain, Head, Norm, Quantiser, Stage, Stem, Wiring
from paretina.model.families.bimlp import bimlp
from paretina.model.family import network_named, networks
from paretina.model.norms.channel import ChannelNorm
from paretina.model.quantisers.binary import Binary
from paretina.model.tasks.one_of import OneOf
from paretina.model.tasks.places import Places
from paretina.model.weights import About
from paretina.model.wirings.tokens import Tokens
from paretina.model.wirings.two_paths import TwoPaths
from paretina.ship.export import exported, quiet
from paretina.ship.format import format_named, format_of, formats
from paretina.ship.formats import onnx as onnx_format
from paretina.ship.formats import openvino as openvino_format
from paretina.ship.formats.openvino import ShapedRequests
from paretina.ship.header import KEY, Header, read
from paretina.ship.steps import in_inference_form
from paretina.ship.whole import Whole
from paretina.spec import modules_in
from tiny import GROWING, row, tiny_blueprint, with_own_statistics

FIRST = {network.family: network.blueprint for network in reversed(networks().values())}
SHAPES = ((1, 1, 1), (1, 3000, 40), (5, 37, 53), (3, 64, 64), (2, 90, 120))
"""Batch, height, width."""


def cut(blueprint):
    stages = tuple(replace(row, depth=min(row.depth, 2 if row.wiring == Chain() else 3)) for row in blueprint.stages)
    return replace(blueprint, stages=stages, resolution=64, classes=5)


def lively(model):
    """A network whose answers differ, with statistics that count."""
    torch.manual_seed(0)
    network = model.build().eval()
    with torch.no_grad():
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if name.endswith("running_var") or (name.endswith("weight") and tensor.ndim == 1):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(("running_mean", "bias")):
                tensor.uniform_(-0.2, 0.2)
        for inner in network.networks():
            if hasattr(inner.head, "classifier") and isinstance(inner.head.classifier, torch.nn.Linear):
                inner.head.classifier.weight.normal_(std=0.5)
    return network


def task_of(network):
    return Places() if all(table.head.DENSE for table in network.model.blueprints()) else OneOf()


def header_for(network, precision="float32"):
    model = network.model
    about = About(
        tuple("abcdefghij"[: model.classes]), {"val/top1": 50.0}, "Apache-2.0", "a test", "tiny", task=task_of(network)
    )
    return Header(about, model.preprocessing, model.resolution, model.channels, precision)


def write(network, name, folder):
    format = format_named(name)
    format.require()
    path = folder / f"file{format.SUFFIX}"
    format.write(Whole(in_inference_form(network)[0], task_of(network)), path, header_for(network))
    assert [each.name for each in folder.iterdir()] == [path.name]  # one file
    return path


def check(network, name, path, shapes=SHAPES):
    format = format_named(name)
    running = format.open(path, threads=1)
    assert running.header == header_for(network)
    for shape in shapes:
        generator = torch.Generator().manual_seed(shape[1])
        images = torch.randint(0, 256, (shape[0], 3, *shape[1:]), dtype=torch.uint8, generator=generator)
        with torch.inference_mode():
            small = preprocess(images, network.model.preprocessing, network.model.resolution)
            wanted = network(small).softmax(1)
        found = running.run(images)
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() < 5e-3, shape
    if task_of(network) == OneOf():
        assert running.features is not None
        assert running.features(images).shape == network.embedding(small).shape


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A small network, and how to have it as a file of a format, which is written once."""
    network = lively(tiny_blueprint(row(1, 8, 2), row(1, 16, 2), resolution=32, classes=5))
    return network, functools.cache(lambda name: write(network, name, tmp_path_factory.mktemp(name)))


@pytest.mark.parametrize("name", formats())
def test_a_file_answers_as_its_network(name, written):
    network, file = written
    check(network, name, file(name))


@pytest.mark.slow
@pytest.mark.parametrize("family", FIRST)
@pytest.mark.parametrize("name", formats())
def test_every_family_can_be_shipped(name, family, tmp_path):
    blueprint, shapes = cut(FIRST[family]), SHAPES
    if family == "bimlp":
        # the last bits of a runtime, and of its resize, change signs of sums: few sums, and pictures of the network's size
        blueprint = replace(bimlp((1, 1, 1, 1), (8, 12, 16, 24)), resolution=32, classes=5)
        blueprint, shapes = replace(blueprint, preprocessing=replace(blueprint.preprocessing, crop=1.0)), ((3, 32, 32),)
    network = lively(blueprint)
    if family in GROWING:
        with_own_statistics(network, torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    check(network, name, write(network, name, tmp_path), shapes)


def each_kind(folder):
    """An example of each plug-in in a folder of `paretina.model`."""
    found = {}
    for module in modules_in(f"paretina.model.{folder}"):
        for example in getattr(module, "EXAMPLES", ()):
            found.setdefault(type(example), example)
    return list(found.values())


def holder(part):
    """A small network that has this plug-in."""
    match part:
        case Block():
            return tiny_blueprint(Stage(block=part, depth=2, width=16, stride=2), resolution=32, classes=5)
        case Quantiser():
            stages = (Stage(block=Basic(), depth=1, width=8, stride=1), Stage(block=Basic(), depth=1, width=12, stride=2))
            activation = RPReLU() if isinstance(part, Binary) else ReLU()
            return tiny_blueprint(*stages, activation=activation, quantiser=part, resolution=32, classes=5)
        case Tokens():
            whole = network_named("deit_tiny").blueprint
            stage = replace(whole.stages[0], block=Encoder(head_width=8), depth=4, width=16, wiring=part)
            return replace(whole, resolution=32, classes=5, stem=replace(whole.stem, width=16, patch=8), stages=(stage,))
        case TwoPaths():
            stage = Stage(block=ConvNeXt(), depth=3, width=16, stride=2, wiring=part)
            return tiny_blueprint(stage, norm=ChannelNorm(), activation=GELU(), resolution=32, classes=5)
        case Wiring():
            return tiny_blueprint(replace(row(4, 16, 2), wiring=part), resolution=32, classes=5)
    field = next(name for kind, name in PLACES.items() if isinstance(part, kind))
    return tiny_blueprint(row(1, 8, 2), row(1, 16, 2), resolution=32, classes=5, **{field: part})


PLACES = {Activation: "activation", Norm: "norm", Stem: "stem", Head: "head"}
FOLDERS = ("activations", "blocks", "heads", "norms", "quantisers", "stems", "wirings")
PARTS = [part for folder in FOLDERS for part in each_kind(folder) if not getattr(part, "BOXES", False)]


def test_each_folder_of_a_network_has_its_place():
    """Those of FOLDERS are shipped part by part; assemblies and families above, edits and tasks as what they make."""
    folders = {path.name for path in Path(paretina.model.__file__).parent.iterdir() if (path / "__init__.py").is_file()}
    assert folders == {*FOLDERS, "assemblies", "edits", "families", "tasks"}


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS, ids=lambda part: type(part).__name__)
@pytest.mark.parametrize("name", formats())
def test_every_part_can_be_shipped(name, part, tmp_path):
    network = lively(holder(part))
    # of a picture of one colour many places are alike, and rounding decides which of them TwoPaths keeps
    shapes = SHAPES[1:] if isinstance(part, TwoPaths) else SHAPES
    check(network, name, write(network, name, tmp_path), shapes)


def test_onnx_runtime_has_as_many_threads_as_torch(written, monkeypatch):
    """Its own default are all cores of the machine, also where the process may use fewer."""
    onnxruntime = pytest.importorskip("onnxruntime")
    _, file = written
    seen, whole = [], onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda path, options, **more: seen.append(options) or whole(path, options, **more)
    )
    for count, threads in ((3, None), (3, 2), (1, None)):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=count: count)
        format_named("onnx").open(file("onnx"), threads)
    assert [options.intra_op_num_threads for options in seen] == [3, 2, 1]


def test_openvino_has_as_many_threads_as_the_environment_says(written, monkeypatch):
    openvino = pytest.importorskip("openvino")
    _, file = written
    seen, whole = [], openvino.Core.compile_model
    monkeypatch.setattr(
        openvino.Core,
        "compile_model",
        lambda core, model, device, given: seen.append(given) or whole(core, model, device, given),
    )
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    images = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)
    format_named("openvino").open(file("openvino")).run(images)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    format_named("openvino").open(file("openvino")).run(images)
    assert [given.get("INFERENCE_NUM_THREADS") for given in seen] == [None, 1]


class Order(torch.nn.Module):
    def forward(self, x):
        return x.argsort(dim=1, descending=True, stable=True), x.argsort(dim=0, stable=True)


def test_of_equal_values_the_first_comes_first_in_onnx():
    """MergedTokens sorts by likeness, and tokens may be equally alike."""
    onnxruntime = pytest.importorskip("onnxruntime")
    x = torch.randint(0, 3, (9, 40), generator=torch.Generator().manual_seed(0)).float()
    table = {torch.ops.aten.sort.stable: onnx_format.stable_sort}
    with quiet():
        written = torch.onnx.export(
            torch.export.export(Order(), (x,)), dynamo=True, input_names=["x"], opset_version=20, custom_translation_table=table
        )
    found = onnxruntime.InferenceSession(written.model_proto.SerializeToString()).run(None, {"x": x.numpy()})
    for one, other in zip(found, Order()(x), strict=True):
        assert (one == other.numpy()).all()


class DigammaUnit(torch.nn.Module):
    def forward(self, x):
        return torch.digamma(x.abs() + 1)


@dataclass(frozen=True, kw_only=True)
class Digamma(Activation):
    def make(self, width):
        return DigammaUnit()


@pytest.mark.parametrize(("name", "others"), [("onnx", "openvino or torch-export"), ("openvino", "onnx or torch-export")])
def test_an_operator_that_a_format_does_not_have_is_named(name, others, tmp_path):
    network = lively(tiny_blueprint(activation=Digamma(), classes=5))
    with pytest.raises(ValueError, match=rf"cannot be written as {name}: .*digamma.*; ship it --to {others}$"):
        write(network, name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", formats())
def test_a_model_of_several_networks_can_be_shipped(name, tmp_path):
    member = tiny_blueprint(row(1, 8, 2), resolution=32, classes=5)
    network = lively(Ensemble(member=member, count=2, classes=5, resolution=32))
    check(network, name, write(network, name, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("name", formats())
def test_the_header_can_be_read_alone_and_amended(name, written, tmp_path):
    format = format_named(name)
    network, file = written
    path = Path(shutil.copy(file(name), tmp_path))
    header = header_for(network)
    images = torch.randint(0, 256, (1, 3, 20, 20), dtype=torch.uint8)
    before = format.open(path).run(images)
    amended = header.with_gate({"n": 5, "verdict": "passed"})
    format.amended(path, amended)
    assert format.header(path) == amended
    assert torch.equal(format.open(path).run(images), before)


@pytest.mark.parametrize("name", formats())
@pytest.mark.parametrize("data", [b"", b"no model", b"PK\x03\x04" + bytes(60)])
def test_other_files_are_refused_by_name(name, data, tmp_path):
    format = format_named(name)
    path = tmp_path / f"other{format.SUFFIX}"
    path.write_bytes(data)
    for read_it in (format.open, format.header):
        with pytest.raises(ValueError, match=r"other\."):
            read_it(path)


def test_a_foreign_onnx_file_is_refused(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", value[:1], value[1:])
    path = tmp_path / "foreign.onnx"
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), path)
    with pytest.raises(ValueError, match="was not written by paretina ship"):
        format_named("onnx").header(path)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda header: header.pop("classes"), "no 'classes'"),
        (lambda header: header.update(classes=[]), "list of names"),
        (lambda header: header.update(classes=[1, 2]), "list of names"),
        (lambda header: header.update(version=99), "version is 99"),
        (lambda header: header.update(format="x"), "not that of a shipped model"),
        (lambda header: header.update(precision="int4"), "int4"),
        (lambda header: header.update(task={"kind": "Nonsense"}), "damaged"),
        (lambda header: header.update(metrics=[1]), "damaged"),
        (lambda header: header.update(gate=[]), "gate"),
    ],
)
def test_a_damaged_header_is_refused(change, error, tmp_path):
    import json

    network = tiny_blueprint(row(1, 8, 2), classes=3).build()
    found = json.loads(header_for(network).text())
    assert read(tmp_path / "f", json.dumps(found)) == header_for(network)
    change(found)
    with pytest.raises(ValueError, match=error):
        read(tmp_path / "file.onnx", json.dumps(found))


def test_names_and_suffixes_tell_formats_apart(tmp_path):
    assert set(formats()) == {"onnx", "openvino", "torch-export"}
    assert {format_of(tmp_path / f"a{each.SUFFIX}") for each in formats().values()} == {*formats().values()}
    assert format_of(tmp_path / "a.safetensors") is None
    with pytest.raises(ValueError, match="did you mean 'onnx'"):
        format_named("onx")
    assert KEY == "paretina"


@pytest.mark.slow
def test_what_is_no_graph_is_refused(tmp_path):
    network = tiny_blueprint(row(1, 8, 2), resolution=16, classes=3).build().eval()
    network.head.forward = lambda maps, extras: maps[0] if maps[0].sum() > 0 else maps[1]  # depends on the values
    with pytest.raises(ValueError, match=r"Blueprint.* cannot be shipped"):
        exported(Whole(network, OneOf(), features=False))


# --- shapes that come again and again -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_file_that_is_fitted_to_a_shape_answers_as_before(written):
    _, file = written
    path = file("openvino")
    running = format_named("openvino").open(path)
    images = torch.randint(256, (2, 3, 70, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    other = images[:1, :, :33]
    first, of_other = running.run(images), running.run(other)
    running.fit(images)
    torch.testing.assert_close(running.run(images), first, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(running.run(other), of_other, rtol=0, atol=0)
    torch.testing.assert_close(
        running.features(images), format_named("openvino").open(path).features(images), rtol=1e-3, atol=1e-4
    )


def test_a_shape_that_comes_often_is_compiled_for_and_few_are_kept():
    made = []

    def compiled(shape):
        made.append(shape)
        return shape

    requests = ShapedRequests(compiled)
    assert made == [None]
    often, rare = (40, 3, 8, 8), (1, 3, 9, 9)
    assert [requests.of(often) for _ in range(4)] == [None, None, None, often]  # 120 pictures were enough
    assert requests.of(rare) is None
    assert requests.of(often) == often
    requests.fit((1, 3, 5, 5))
    requests.fit((1, 3, 6, 6))
    assert list(requests.fitted) == [(1, 3, 5, 5), (1, 3, 6, 6)]
    assert requests.of(often) is None
    assert made == [None, often, (1, 3, 5, 5), (1, 3, 6, 6)]


def test_a_shape_that_openvino_cannot_compile_for_is_run_like_any_other():
    """A crash of the compiler ends the process that tries, and not this one."""
    made = []

    def compiled(shape):
        made.append(shape)
        return f"for {shape}"

    tried = []

    def bears(shape):
        tried.append(shape)
        return shape[0] == 1

    requests = ShapedRequests(compiled, bears)
    for _ in range(3):
        assert requests.of((200, 3, 5, 5)) == "for None"
        assert requests.of((1, 3, 5, 5)) == "for None"
    requests.fit((1, 3, 5, 5))
    assert requests.of((1, 3, 5, 5)) == "for (1, 3, 5, 5)"
    assert tried == [(200, 3, 5, 5), (1, 3, 5, 5)]
    assert made == [None, (1, 3, 5, 5)]


@pytest.mark.slow
def test_a_trial_compiles_what_can_be_and_outlives_what_ends_its_process(written, monkeypatch):
    path = written[1]("openvino")
    inside = openvino_format.members(path, "model.xml", "model.bin")
    assert openvino_format.compiles(inside, (2, 3, 16, 16), {})
    assert not openvino_format.compiles({**inside, "model.xml": b"<net/>"}, (2, 3, 16, 16), {})
    monkeypatch.setattr(openvino_format, "TRIAL", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert not openvino_format.compiles(inside, (2, 3, 16, 16), {})
