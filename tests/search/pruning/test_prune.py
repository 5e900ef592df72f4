"""A network is pruned to a share of its cost: what goes first, what is counted, what is refused."""

import json

import pytest
import torch
from click.testing import CliRunner
from tests.search.pruning.test_channels import NETWORKS, stage
from tests.tiny import noise_npz, tiny_blueprint

from covering import few
from paretina import verbs
from paretina.cli import main
from paretina.measure.cost import cost
from paretina.model.assemblies.divide import Divide
from paretina.model.blocks.mbconv import MBConv
from paretina.model.blocks.resnet import Basic
from paretina.model.heads.pool import PoolHead
from paretina.model.stems.conv import ConvStem
from paretina.model.weights import About, load_model, save_model
from paretina.search.pruning.channels import channels_of
from paretina.search.pruning.importance import channel_scores, importance_named
from paretina.search.pruning.prune import prune
from paretina.search.pruning.select import Selection, layer_costs

MAGNITUDE = importance_named("magnitude")


def built(blueprint):
    torch.manual_seed(0)
    return blueprint.build().eval()


@pytest.mark.parametrize("name", few(["basic", "bottleneck", "inverted", "separable", "convnext"]))
@pytest.mark.parametrize("lowered", few(["macs", "params"]))
def test_counts_meet_the_target(name, lowered):
    network = built(NETWORKS[name])
    found = prune(network, MAGNITUDE, (), lowered, 0.5, multiple=1)
    before, after = (getattr(cost(each.model), lowered) for each in (network, found.network))
    assert after <= 0.53 * before
    assert found.costs.share == pytest.approx(after / before)
    assert found.reached
    assert found.network(torch.rand(1, 3, 16, 16)).shape == (1, 3)


def test_what_is_worth_the_least_goes_first():
    network = built(tiny_blueprint(stage(Basic(), depth=1, width=16)))
    with torch.no_grad():
        network.stages[0][0].body[0].conv.weight[4:] *= 1e-4
        network.stages[0][0].body[0].norm.weight[4:] = 1e-4
        network.stages[0][0].body[1].conv.weight[:, 4:] *= 1e-4
    found = prune(network, MAGNITUDE, (), "macs", 0.6, multiple=1)
    assert found.widths["stage 1, block 1"][1] <= 8
    kept = found.network.stages[0][0].body[0].norm.weight
    assert (kept > 0.5).sum() == 4


def test_the_predicted_cost_is_the_counted_one():
    network = built(NETWORKS["basic"])
    channels = channels_of(network.blueprint)
    images = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    layers = layer_costs(network, channels, "macs", images)
    selection = Selection.of(channels, layers, channel_scores(MAGNITUDE, network, channels), 1, False)
    assert selection.predicted() == cost(network.model).macs
    selection.lower(0.5 * selection.predicted())
    small = channels.narrowed(selection.left)
    assert selection.predicted() == pytest.approx(cost(small).macs)


@pytest.mark.slow
def test_no_shortcut_appears_where_there_was_none():
    """The widths of two neighbouring stages may not become equal."""
    network = built(
        tiny_blueprint(stage(MBConv(expand=2, kernel=3), width=16), stage(MBConv(expand=2, kernel=3), width=24, stride=1))
    )
    for target in (0.7, 0.5, 0.3):
        found = prune(network, MAGNITUDE, (), "macs", target, multiple=8)
        assert found.network.state_dict().keys() == network.state_dict().keys()


@pytest.mark.slow
def test_a_request_that_cannot_be_is_refused():
    network = built(NETWORKS["basic"])
    with pytest.raises(ValueError, match="there is no cost 'mac' to lower; did you mean 'macs'"):
        prune(network, MAGNITUDE, (), "mac", 0.5)
    with pytest.raises(ValueError, match="above 0 and below 1, got 1"):
        prune(network, MAGNITUDE, (), "macs", 1.0)
    with pytest.raises(ValueError, match="no chunk of 64 channels is taken out"):
        prune(network, MAGNITUDE, (), "macs", 0.5, multiple=64)
    with pytest.raises(ValueError, match="is made of 2 networks; pruning takes a single one"):
        prune(
            Divide(count=2)(tiny_blueprint(stage(Basic(), width=64), stem=ConvStem(width=32))).build(),
            MAGNITUDE,
            (),
            "macs",
            0.5,
        )


# --- the command --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on noise whose classes differ in brightness."""
    home = tmp_path_factory.mktemp("pruned")
    data = noise_npz(home / "noise.npz", 48, 24, contrast=60)
    blueprint = tiny_blueprint(stage(Basic(), width=16), stage(Basic(), width=24), head=PoolHead())
    run = verbs.train(data, model=blueprint, recipe="plain", weights="none", device="cpu", output=home / "run", epochs=6,
                      batch_size=12, workers=0, threads=1, precision="float32", size=16)  # fmt: skip
    return home, run


@pytest.mark.slow
def test_prunes_recovers_and_compares(trained):
    home, run = trained
    words = ["prune", str(run.path), "--cost", "macs", "--target", "50%", "--multiple", "2", "--output", str(home / "small")]
    words += ["epochs=4", "workers=0", "threads=1", "precision=float32", "--json"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found == json.loads((home / "small" / "pruned.json").read_text())
    assert 0.4 < found["cost"]["share"] <= 0.55
    assert found["recovered"]["before"]["value"] > 60
    assert found["recovered"]["after"]["value"] >= found["cut"]["after"]["value"] - 15
    network, about = load_model(home / "small" / "model.safetensors")
    before, _ = load_model(run.path / "model.safetensors")
    assert cost(network.model).macs == pytest.approx(found["cost"]["share"] * cost(before.model).macs)
    assert about.classes == ("a", "b", "c")
    assert "of its multiply-adds; before that trained on" in load_model(home / "small" / "start.safetensors")[1].origin
    asked = json.loads((home / "small" / "asked.json").read_text())["asked"]["recipe"]
    assert asked["teacher"] == str((run.path / "model.safetensors").absolute())


def test_nothing_is_left_where_the_request_is_wrong(trained):
    home, run = trained
    for words, said in (
        (["--target", "0.5y"], "--target is a share of the cost"),
        (["--cost", "time"], "there is no cost 'time' to lower"),
        (["epochz=3"], "epochz"),
        (["--recipe", "recovr"], "recovr"),
    ):
        result = CliRunner().invoke(main, ["prune", str(run.path), *words, "--output", str(home / "nothing")])
        assert result.exit_code == 2
        assert said in result.output + str(result.exception)
        assert not (home / "nothing").exists()


def test_other_tasks_and_shipped_files_are_refused(trained, tmp_path):
    _, run = trained
    shipped = tmp_path / "model.onnx"
    shipped.write_bytes(b"x")
    with pytest.raises(verbs.MisuseError, match="is shipped already; prune the run"):
        verbs.prune(shipped)
    from paretina.model.tasks.any_of import AnyOf

    network, about = load_model(run.path / "model.safetensors")
    other = tmp_path / "any.safetensors"
    save_model(other, network, About(about.classes, task=AnyOf()))
    with pytest.raises(
        verbs.MisuseError, match=r"pruning is for one class a picture; the task of .* is several labels a picture"
    ):
        verbs.prune(other, str(trained[0] / "noise.npz"))
