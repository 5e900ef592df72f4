"""Networks of few bits on the way that all take: trained, resumed, shown, taken up from floats, and shipped."""

import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from paretina import verbs
from paretina.cli import main
from paretina.model.family import network_named
from paretina.model.quantisers.binary import Binary
from paretina.model.quantisers.dorefa import Dorefa
from paretina.model.quantisers.lsq import Lsq
from paretina.model.rounding import bits_of
from paretina.model.weights import About, load_model, save_model
from paretina.ship.format import format_named
from paretina.ship.shipping import written
from paretina.train import training
from tiny import noise_npz

TINY = ["--model", "resnet8_w16_s2", "--device", "cpu", "--weights", "none", "model.stem.width=8", "model.stages.*.width=8"]
TINY += ["size=16", "batch_size=6", "epochs=2", "precision=float32", "workers=0", "test.every=1"]


def paretina(*arguments, code=0):
    result = CliRunner().invoke(main, [str(each) for each in arguments], prog_name="paretina")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Pictures, and a float network that was trained on them."""
    home = tmp_path_factory.mktemp("low-bits")
    data = noise_npz(home / "noise.npz", 24, 9, contrast=40)
    paretina("train", data, *TINY, "--output", home / "floats")
    return home


def rounded(home, quantiser):
    """A run of a network of few bits, which the first test that asks for it trains."""
    run = home / quantiser
    if not run.exists():
        data = home / "noise.npz"
        paretina("train", data, *TINY, f"model.quantiser={quantiser}", "model.quantiser.weights=3", "--output", run)
    return run


def weights_in(run):
    return load_model(run / "model.safetensors")[0].state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("quantiser", ["Dorefa", "Lsq"])
def test_trained_shown_and_shipped(home, quantiser, tmp_path):
    run, data = rounded(home, quantiser), home / "noise.npz"
    network, _ = load_model(run / "model.safetensors")
    assert (network.blueprint.quantiser.weights, network.blueprint.quantiser.activations) == (3, 4)
    assert f'"{quantiser}"' in (run / "asked.json").read_text()

    shown = paretina("show", run).stdout
    assert "bits: 3w4a in 8 layers, 8w in 2; weights 0.00" in shown
    assert "in floats, as computed here" in shown
    assert "stage 1: 3w4a in 2 layers" in shown
    counted = json.loads(paretina("show", run, "--json").stdout)["cost"]
    assert [each["weight_bits"] for each in counted["bits"]] == [8, *[3] * 8, 8]
    assert counted["low_bit_bytes"] < counted["int8_bytes"] < counted["weight_bytes"]
    page = (run / "report.html").read_text()
    assert "As rounded to few bits: 3w4a in 8 layers, 8w in 2; weights 0.00" in page
    assert [page.count(f'<span class="spec">3w4a in {count} layers</span>') for count in (2, 3)] == [1, 2]

    out = tmp_path / "model.onnx"
    shipped = json.loads(paretina("ship", run, "--to", "onnx", "--out", out, "--seconds", "0", "--json").stdout)
    assert shipped["gate"]["verdict"] == "passed"
    opened = verbs.evaluate(str(out), str(data))
    trained = verbs.evaluate(str(run), str(data))
    assert opened.accuracy.top1 == trained.accuracy.top1
    refused = paretina(
        "ship", run, "--to", "onnx", "--precision", "int8", "--out", tmp_path / "again.onnx", "--seconds", "0", code=1
    )
    assert f"is rounded to few bits by {quantiser}, and in int8 its levels would be others" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("quantiser", [Dorefa(), Lsq()], ids=repr)
def test_a_file_of_another_runtime_answers_as_the_network(quantiser, tmp_path):
    torch.manual_seed(0)
    network = replace(network_named("resnet8_w16_s2").blueprint, quantiser=quantiser, resolution=28, classes=3).build()
    images = torch.randint(256, (8, 3, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for _ in range(20):  # statistics of norms, and steps
        network(images)
    save_model(tmp_path / "model.safetensors", network.eval(), About(classes=("a", "b", "c")))
    onnx = format_named("onnx")
    written(tmp_path / "model.safetensors", onnx, "float32", tmp_path / "model.onnx")
    answers = onnx.open(tmp_path / "model.onnx").run(images)
    with torch.no_grad():
        wanted = network(images).softmax(1)
    assert wanted.std(0).min() > 1e-3  # the pictures have different answers
    torch.testing.assert_close(answers, wanted, atol=1e-4, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("quantiser", ["Dorefa", "Lsq"])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(home, quantiser, tmp_path):
    fields = {"model.quantiser": quantiser, "model.stages.*.width": 8, "epochs": 2, "batch_size": 6, "size": 16, "workers": 0}
    asked = verbs.ask(str(home / "noise.npz"), "resnet8_w16_s2", "plain", "none", "cpu", fields=fields).asked
    training.train(asked, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        training.train(asked, tmp_path / "cut", stop_after=3)
    training.resume(tmp_path / "cut")
    whole, cut = (weights_in(tmp_path / name) for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert any("rounding" in name for name in whole) == (quantiser == "Lsq")


@pytest.mark.slow
@pytest.mark.parametrize("quantiser", ["Dorefa", "Lsq"])
def test_float_weights_are_taken_up(home, quantiser, tmp_path):
    fields = [f"model.quantiser={quantiser}", "epochs=1", f"teacher={home / 'floats'}"]
    given = ["--recipe", "recover", "--device", "cpu", "--output", tmp_path / "run"]
    paretina("finetune", home / "floats", *given, *fields)
    network, _ = load_model(tmp_path / "run" / "model.safetensors")
    assert str(bits_of(network)[1]) in ("2w4a", "4w4a")
    notes = json.loads((tmp_path / "run" / "asked.json").read_text())["notes"]
    assert any(f"quantiser none instead of {quantiser} " in note for note in notes)
    if quantiser == "Lsq":
        frozen = [*given[:-1], tmp_path / "frozen", "--recipe", "recover", *fields, 'frozen=["stem"]']
        refused = paretina("finetune", home / "floats", *frozen[2:], code=1)
        assert "stem is frozen, but its quantiser has new steps, which training sets" in refused.stderr


def test_int8_rounding_in_training_and_pruning_are_refused(home, tmp_path):
    run, data = rounded(home, "Dorefa"), home / "noise.npz"
    given = [*TINY, "model.quantiser=Dorefa", "--output", tmp_path / "twice"]
    refused = paretina("train", data, *given, "objective=Quantised", code=2)
    assert "those of this network are rounded by Dorefa already" in refused.stderr
    refused = paretina("prune", run, "--output", tmp_path / "pruned", code=2)
    assert "the layers of this network are rounded by Dorefa" in refused.stderr


def test_a_network_that_does_not_fit_is_refused_before_anything_is_made(home, tmp_path):
    given = ["--model", "mobilenet_v2", "--device", "cpu", "--weights", "none", "--output", tmp_path / "run"]
    refused = paretina("train", home / "noise.npz", *given, "model.quantiser=Dorefa", code=2)
    assert "Dorefa rounds what is below zero to zero, and MBConv in stage 1" in refused.stderr
    assert not (tmp_path / "run").exists()


def test_measure_says_the_bits(home):
    out = paretina("measure", rounded(home, "Dorefa"), "--device", "cpu", "--no-training", "--time", "1s", "--rounds", "2")
    assert "bits: 3w4a in 8 layers, 8w in 2" in out.stderr


def test_a_binary_network_is_trained_shown_and_measured(home, tmp_path):
    run, data = tmp_path / "run", home / "noise.npz"
    given = ["--model", "bimlp_s", *TINY[2:4], *TINY[6:8], *TINY[9:], "model.stages.*.depth=1", "size=32"]
    inputs_alone = ["--weights", "none", "model.quantiser.float_weights=on"]
    paretina("train", data, *given, *inputs_alone, "--output", tmp_path / "first")
    assert "bits: 1a in 56 layers, float in 5; weights" in paretina("show", tmp_path / "first").stdout
    paretina("train", data, *given, "--weights", tmp_path / "first", "model.quantiser.gradient=reste", "--output", run)
    network, _ = load_model(run / "model.safetensors")
    assert network.blueprint.quantiser == Binary(gradient="reste", float_ends=True)
    shown = paretina("show", run).stdout
    assert "bits: 1w1a in 56 layers, float in 5; weights" in shown
    assert "bit operations / 64 and" in shown
    counted = json.loads(paretina("show", run, "--json").stdout)["cost"]
    assert counted["bit_operations"] + counted["float_macs"] == counted["macs"]
    out = paretina("measure", run, "--device", "cpu", "--no-training", "--time", "1s", "--rounds", "2")
    assert "bit operations / 64 and" in out.stderr
    refused = paretina(
        "ship", run, "--to", "onnx", "--precision", "int8", "--out", tmp_path / "a.onnx", "--seconds", "0", code=1
    )
    assert "is rounded to few bits by Binary, and in int8 its levels would be others" in refused.stderr


def test_a_binary_network_with_inputs_of_one_sign_is_refused(home, tmp_path):
    run = ["--output", tmp_path / "run"]
    refused = paretina("train", home / "noise.npz", *TINY, "model.quantiser=Binary", *run, code=2)
    assert "Binary makes each input its sign, and ReLU, the activation of this network, leaves nothing" in refused.stderr
    paretina("train", home / "noise.npz", *TINY, "model.quantiser=Binary", "model.activation=RPReLU", *run)
    assert "1w1a in 8 layers, 8w in 2" in paretina("show", tmp_path / "run").stdout
