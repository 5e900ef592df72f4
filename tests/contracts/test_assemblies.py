"""What every assembly must satisfy: what it makes is built, saved, counted, folded and trained as a single network is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from paretina import verbs
from paretina.data.sources.arrays import Arrays
from paretina.measure.cost import cost
from paretina.measure.parts import parts_of
from paretina.measure.plan import Plan
from paretina.model.blueprint import Assembly, Model
from paretina.model.build import Network
from paretina.model.fold import fold
from paretina.model.roles import roles
from paretina.model.rows import class_tensors
from paretina.model.stems.conv import ConvStem
from paretina.model.weights import About, load_model, save_model
from paretina.spec import kinds
from paretina.train.asked import Asked
from paretina.train.learning import Learning
from paretina.train.objectives.supervised import Supervised
from paretina.train.recipe import Recipe
from paretina.train.training import resume, train
from tiny import row, tiny_blueprint

TABLE = tiny_blueprint(row(2, 16, 1), row(1, 32, 2), resolution=32, stem=ConvStem(width=16))
FROM_PACKAGE = [kind for kind in kinds(Assembly).values() if kind.__module__.startswith("paretina.")]
every_assembly = pytest.mark.parametrize("assembly", [kind() for kind in FROM_PACKAGE], ids=repr)


def built(model, seed=0):
    torch.manual_seed(seed)
    return model.build().eval()


def images(count=2, side=32):
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def pictures_file(tmp_path):
    random = np.random.default_rng(0)
    labels = np.arange(24) % 3
    pictures = (random.random((24, 36, 36, 3)) * 170 + 40 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(tmp_path / "pictures.npz", images=pictures, labels=labels, split=["train"] * 16 + ["val"] * 8)
    return tmp_path / "pictures.npz"


@every_assembly
def test_what_it_makes_says_what_is_in_it(assembly):
    model = assembly(TABLE)
    assert (model.classes, model.resolution, model.preprocessing, model.channels) == (3, 32, TABLE.preprocessing, 3)
    assert Model.from_json(model.to_json()) == model
    network = built(model)
    assert network.model == model
    assert [each.blueprint for each in network.networks()] == list(model.blueprints())
    with pytest.raises(ValueError, match="has no blueprint of its own; this is supported for a single network only"):
        _ = network.blueprint


@every_assembly
def test_classes_size_and_preprocessing_are_changed_in_one_place(assembly):
    model = assembly(TABLE)
    preprocessing = replace(TABLE.preprocessing, mean=(0.0, 0.0, 0.0))
    changed = replace(model, classes=7, resolution=48, preprocessing=preprocessing)
    assert all(table.preprocessing == preprocessing for table in changed.blueprints())
    sizes = getattr(changed, "sizes", (48,))  # of what answers; one that chooses among them has as many classes
    answering = [table for table in changed.blueprints() if table.classes == 7]
    assert {table.classes for table in changed.blueprints()} <= {7, len(sizes)}
    assert answering
    assert all(table.resolution in sizes for table in answering)
    network = built(changed)
    assert network(images(side=48)).shape == (2, 7)
    assert set(class_tensors(model)) == {name for name, tensor in network.state_dict().items() if tensor.shape[:1] == (7,)}
    with pytest.raises(ValueError, match=rf"^{type(model).__name__}.resolution must be between 1 and 4096"):
        replace(model, resolution=0)


@every_assembly
def test_logits_embedding_and_extras_come_from_one_call(assembly):
    network = built(assembly(TABLE))
    with torch.no_grad():
        logits, extras = network(images(), extras=True)
        assert torch.equal(logits, network(images()))
        assert torch.equal(extras["embedding"], network.embedding(images()))
    assert extras["embedding"].ndim == 2


@every_assembly
def test_a_gradient_reaches_every_parameter(assembly):
    network = built(assembly(TABLE)).train()
    torch.nn.functional.cross_entropy(network(images(8)), torch.arange(8) % 3).backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@every_assembly
def test_every_parameter_has_a_role_and_the_place_in_its_own_network(assembly):
    network = built(assembly(TABLE))
    owned = roles(network)
    assert owned.keys() == dict(network.named_parameters()).keys()
    plain = [name for name, each in network.named_modules() if each in network.networks()]
    for name in plain:
        found = {one.place for one in owned.values() if one.network == name}
        assert found == {"stem", "stages.0", "stages.1", "head"}
    factors = {
        round(group.get("rate_factor", 1.0), 9)
        for group in Learning(lr_decay=0.5).groups(Supervised().make(network, None), Recipe().optimizer)
        for parameter in group["params"]
    }
    assert factors == {1.0, 0.5, 0.25, 0.125}


@every_assembly
def test_parts_are_frozen_in_each_network_and_stay_so(assembly):
    network = built(assembly(TABLE))
    network.freeze(("stem", "stages.0"))
    network.train()
    for each in network.networks():
        assert not each.stem.training
        assert each.stages[1].training
        assert [parameter.requires_grad for parameter in each.stages[0].parameters()].count(True) == 0
    network.frozen_statistics = True
    assert not any(module.training for module in network.train().modules())
    with pytest.raises(ValueError, match=r"there is no part 'stages.2' to freeze; did you mean"):
        network.freeze(("stages.2",))


@every_assembly
def test_a_file_read_back_answers_the_same(assembly, tmp_path):
    network = built(assembly(TABLE))
    save_model(tmp_path / "model.safetensors", network, About(classes=("a", "b", "c")))
    read, about = load_model(tmp_path / "model.safetensors")
    assert read.model == network.model
    assert about.classes == ("a", "b", "c")
    with torch.no_grad():
        assert torch.equal(read(images()), network(images()))
    shown = verbs.show(str(tmp_path / "model.safetensors")).to_dict()
    assert shown["strides"] == []
    assert shown["source"].endswith("networks: tests")


@every_assembly
def test_it_is_counted_and_folded_as_a_whole(assembly):
    network = built(assembly(TABLE))
    counted = cost(network.model)
    assert counted == cost(network)
    assert counted.params == sum(parameter.numel() for parameter in network.parameters())
    assert counted.params >= sum(cost(table).params for table in network.model.blueprints())
    assert len(parts_of(network)) >= 4 * len(network.networks())
    assert counted.macs == sum(stage.macs for stage in counted.stages) > 0
    folded = fold(network)
    with torch.no_grad():
        assert torch.allclose(folded(images()), network(images()), atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())


@every_assembly
def test_it_is_trained_resumed_evaluated_and_fine_tuned(assembly, tmp_path, pictures_file):
    recipe = Recipe(epochs=2.0, batch_size=8, learning=Learning(lr_decay=0.8, classifier_lr=2.0))
    asked = Asked(data=Arrays(path=str(pictures_file)), model=TABLE, assembly=assembly, recipe=recipe, plan=Plan(workers=0))
    whole = train(asked, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(asked, tmp_path / "run", stop_after=2)
    run = resume(tmp_path / "run")
    assert (run.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()
    result = run.result()
    parts = [part.name for part in parts_of(asked.assembled().build())]
    rows = [stage["name"] for stage in result["cost"]["stages"]]
    assert rows[: len(parts)] == parts
    assert set(rows[len(parts) :]) <= {"rest"}  # what joins the answers
    found = verbs.evaluate(str(run.path), str(pictures_file)).to_dict()
    assert found["top1"] == pytest.approx(result["metrics"]["val/top1"], abs=1e-9)

    notes = []
    again = replace(asked, model=load_model(run.path / "model.safetensors")[0].model, assembly=None)
    again = replace(again, weights=str(run.path / "model.safetensors"), recipe=replace(recipe, epochs=0.5))
    further = train(again, tmp_path / "further", say=notes.append)
    assert any(note.startswith("the last layer keeps the rows of all 3 classes") for note in notes)
    assert isinstance(load_model(further.path / "model.safetensors")[0], Network)
    with pytest.raises(ValueError, match=rf"^{type(assembly).__name__} changes the table of a single network; the model is"):
        replace(again, assembly=assembly).assembled()


@every_assembly
def test_weights_of_a_single_network_fit_none_of_its_parts(assembly, tmp_path, pictures_file):
    single = built(TABLE)
    save_model(tmp_path / "single.safetensors", single, About(classes=("a", "b", "c")))
    recipe = Recipe(epochs=1.0, batch_size=8)
    asked = Asked(data=Arrays(path=str(pictures_file)), model=TABLE, assembly=assembly, recipe=recipe, plan=Plan(workers=0))
    with pytest.raises(ValueError, match="the weights do not fit the network"):
        train(replace(asked, weights=str(tmp_path / "single.safetensors")), tmp_path / "run")
    assert not (tmp_path / "run").exists()
