import pytest
import torch
from torch import nn

from paretina.data.sources.clipart import Clipart
from paretina.measure import opened as module
from paretina.measure.opened import open_model, pictures_for, update
from paretina.measure.plan import InferencePlan, Plan
from paretina.measure.tune import Judgement
from paretina.model.family import Published
from paretina.model.weights import About, save_model

# --- opening ------------------------------------------------------------------------------------------------------------


def test_a_model_file_is_opened_as_it_stands(tmp_path, opened, tiny):
    made = opened().network
    save_model(tmp_path / "model.safetensors", made, About(classes=("a", "b", "c")))
    for place in (tmp_path, tmp_path / "model.safetensors"):
        found = open_model(str(place))
        assert found.trained
        assert (found.resolution, found.model) == (16, tiny)
        assert torch.equal(found.network.head.classifier.weight, made.head.classifier.weight)
    assert open_model(str(tmp_path), 32).resolution == 32


@pytest.fixture
def known(monkeypatch, tiny):
    """A table of networks with one row, which is quicker than all families."""
    monkeypatch.setattr(module, "networks", lambda: {"resnet18": Published("resnet18", "resnet", tiny, params=0, macs=0.0)})


@pytest.mark.usefixtures("known")
def test_one_of_our_names_is_built_at_its_resolution():
    found = open_model("resnet18", 32)
    assert (found.resolution, found.model.resolution, found.trained) == (32, 32, False)
    assert found.images(2).shape == (2, 3, 32, 32)
    assert torch.equal(found.images(2), found.images(2))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet81", "there is no network and no model file 'resnet81'; did you mean 'resnet18'?"),
        ("zzz", "there is no network and no model file 'zzz'$"),
        ("nowhere/model.safetensors", "there is no model file nowhere/model.safetensors"),
        ("nowhere.safetensors", "there is no model file nowhere.safetensors"),
        ("jax:resnet18", "there is no network and no model file 'jax:resnet18'"),
    ],
)
@pytest.mark.usefixtures("known")
def test_what_is_not_there_is_named(name, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        open_model(name)


# --- steps --------------------------------------------------------------------------------------------------------------


def test_an_update_learns_and_keeps_no_gradient(opened):
    network = opened().network.train()
    before = network.head.classifier.weight.clone()
    update(network, Plan(), opened().images(4))()
    assert not torch.equal(network.head.classifier.weight, before)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_training_leaves_what_is_measured_in_inference_alone(steps):
    made = steps()
    before = {name: tensor.clone() for name, tensor in made.opened.network.state_dict().items()}
    made.train(Plan())(4)()
    assert all(torch.equal(before[name], tensor) for name, tensor in made.opened.network.state_dict().items())


def test_copies_are_made_once_for_plans_that_differ_only_in_threads_and_batch(steps):
    made = steps()
    first = made.prepared(InferencePlan())
    assert made.prepared(InferencePlan(threads=1, batch=8)) is first
    assert made.prepared(InferencePlan(fold=True)) is not first


def test_steps_run_with_the_threads_of_their_plan(steps):
    made, seen = steps(), []
    made.prepared(InferencePlan()).register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    made.infer(InferencePlan(threads=2))(1)()
    made.infer(InferencePlan())(1)()
    assert seen == [2, made.threads]


def test_pictures_are_spread_over_the_split_and_seen_through_the_preprocessing(opened):
    found = pictures_for(opened(), Clipart(), 5)
    assert found.shape == (5, 3, 16, 16)
    assert found.dtype == torch.uint8
    assert len({picture.sum().item() for picture in found}) == 5


def test_a_plan_is_judged_against_float32(opened, steps):
    made = steps(opened(trained=True))
    check = made.judged_on(made.opened.images(6))
    assert check(Plan()) == Judgement(6, 1.0, 0.0, 0.0)
    rounded = check(InferencePlan(precision="bfloat16"))
    assert rounded.n == 6
    assert 0 < rounded.worst < 0.1


def test_answers_that_come_in_pairs_are_both_learned():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(12, 3), nn.Linear(12, 3)

        def forward(self, images):
            x = images.float().flatten(1)
            return self.first(x), self.second(x)

    network = Pair()
    before = [tensor.clone() for tensor in (network.first.weight, network.second.weight)]
    update(network, Plan(), torch.full((2, 3, 2, 2), 255, dtype=torch.uint8))()
    assert not torch.equal(network.first.weight, before[0])
    assert not torch.equal(network.second.weight, before[1])


def test_a_network_that_answers_for_each_pixel_is_updated_too():
    torch.manual_seed(0)
    network = nn.Conv2d(3, 2, 1).train()

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = network

        def forward(self, images):
            return self.conv(images.float())

    before = network.bias.clone()
    update(Wrapped(), Plan(), torch.zeros(2, 3, 4, 5, dtype=torch.uint8))()
    # at every pixel the first class is wanted
    assert network.bias[0] > before[0]
    assert network.bias[1] < before[1]
