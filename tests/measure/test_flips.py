"""Answers averaged over pictures and their mirror images."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner

from paretina import verbs
from paretina.cli import main
from paretina.data.decode import decode
from paretina.data.preprocess import preprocess
from paretina.measure.flips import Mirrored, as_logits, averaged, mirrored_run
from paretina.model.tasks.any_of import AnyOf
from paretina.model.tasks.one_of import OneOf
from paretina.model.tasks.places import Places
from paretina.model.weights import About, load_model, save_model
from tiny import noise_npz, row, tiny_blueprint


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A model, one that was trained on pictures without mirror images, arrays and files."""
    home = tmp_path_factory.mktemp("home")
    torch.manual_seed(0)
    network = tiny_blueprint(row(1, 8, 2), row(1, 16, 2)).build()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    about = About(classes=("a", "b", "c"), origin="made for a test")
    save_model(home / "model.safetensors", network, about)
    for name, data in {"letters": {"kind": "Folder", "path": "x", "mirrors": False}, "drawn": {"kind": "Shapes"}}.items():
        (home / name).mkdir()
        save_model(home / name / "model.safetensors", network, about)
        nested = {"kind": "Part", "source": data} if name == "drawn" else data
        (home / name / "asked.json").write_text(json.dumps({"data": nested}))
    noise_npz(home / "noise.npz", 6, 30)
    with np.load(home / "noise.npz") as arrays:
        held = {name: arrays[name] for name in arrays.files}
    for number in range(4):
        PIL.Image.fromarray(held["images"][number]).save(home / f"{number}.png")
    return home


@pytest.fixture(autouse=True)
def inside(home, monkeypatch):
    monkeypatch.chdir(home)


def run(*words, code=0):
    result = CliRunner().invoke(main, [*words], prog_name="paretina")
    assert result.exit_code == code, result.output
    return result


def shares(path, flips):
    (found,) = verbs.predict("model.safetensors", [path], flips=flips).predictions
    return dict(found.answers)


def test_an_answer_is_the_mean_of_the_answers_for_both():
    network, about = load_model(Path("model.safetensors"))
    network.eval()
    image = decode(Path("0.png").read_bytes(), "0.png")[None]
    wanted = torch.zeros(3)
    for each in (image, image.flip(-1)):
        with torch.inference_mode():
            wanted += network(preprocess(each, network.model.preprocessing, 16)).softmax(1)[0] / 2
    found = shares("0.png", True)
    assert [found[name] for name in about.classes] == pytest.approx(wanted.tolist(), abs=1e-5)
    assert found != shares("0.png", False)


def test_a_picture_and_its_mirror_image_get_the_same_answer():
    with PIL.Image.open("1.png") as picture:
        picture.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT).save("turned.png")
    assert shares("1.png", True) == pytest.approx(shares("turned.png", True), abs=1e-6)
    assert shares("1.png", False) != pytest.approx(shares("turned.png", False), abs=1e-6)


def test_evaluation_judges_the_averaged_answers():
    plain, flipped = (verbs.evaluate("model.safetensors", "noise.npz", flips=flips).to_dict() for flips in (False, True))
    assert flipped["flips"] is True
    assert "flips" not in plain
    assert flipped["nll"] != plain["nll"]
    assert any("twice the computing" in note for note in flipped["notes"])


def test_the_same_model_without_flips_can_be_compared_with():
    result = run("evaluate", "model.safetensors", "noise.npz", "--flips", "--against", "model.safetensors", "--max-loss", "100")
    assert "over the same pictures" in result.stdout
    assert "twice the computing" in result.stderr


@pytest.mark.slow
def test_a_shipped_file_averages_too():
    verbs.ship("model.safetensors", "onnx", out="model.onnx", data="noise.npz", seconds=0.2)
    one = verbs.predict("model.safetensors", ["0.png", "1.png"], flips=True).predictions
    other = verbs.predict("model.onnx", ["0.png", "1.png"], flips=True).predictions
    for ours, theirs in zip(one, other, strict=True):
        assert dict(ours.answers) == pytest.approx(dict(theirs.answers), abs=1e-4)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ["evaluate", "letters", "noise.npz", "--flips"],
            "letters/model.safetensors was trained on pictures whose mirror images",
        ),
        (["predict", "letters", "0.png", "--flips"], "leave --flips out"),
        (["predict", "drawn", "0.png", "--flips"], "leave --flips out"),
        (
            ["evaluate", "model.safetensors", "noise.npz", "--flips", "--resolution", "16,24"],
            "leave it out, or several resolutions",
        ),
        (["evaluate", "model.safetensors", "noise.npz", "--flips", "--corruptions", "noise"], "leave it out, or --corruptions"),
        (["evaluate", "model.safetensors", "noise.npz", "--flips", "--recall"], "leave it out, or --recall"),
        (["evaluate", "model.safetensors", "noise.npz", "--flip"], "--flips"),
        (["predict", "model.safetensors", "0.png", "--filps"], "--flips"),
    ],
)
def test_what_does_not_fit_is_refused(words, error):
    assert error in run(*words, code=2).stderr


def test_pictures_without_mirror_images_are_refused(tmp_path):
    from paretina.data.sources.arrays import Arrays

    with pytest.raises(verbs.MisuseError, match=r"mirror images of these pictures .* leave --flips out"):
        verbs.evaluate("model.safetensors", Arrays(path="noise.npz", mirrors=False), flips=True)


def test_where_each_pixel_has_a_class_the_mirror_image_is_mirrored_back():
    class Left(torch.nn.Module):
        """Says the second class where a pixel is bright."""

        def forward(self, images):
            bright = images.mean(1)
            return torch.stack((1 - bright, bright), 1)

    images = torch.rand(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    found = Places().probabilities(Mirrored(Left(), Places())(images))
    assert torch.allclose(found, Places().probabilities(Left()(images)), atol=1e-6)


@pytest.mark.parametrize("task", [OneOf(), AnyOf()])
def test_logits_give_the_probabilities_that_they_are_made_of(task):
    first, other = (task.probabilities(torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))) for seed in (0, 1))
    mean = averaged(task, first, other)
    assert torch.allclose(mean, (first + other) / 2)
    assert torch.allclose(task.probabilities(as_logits(task, mean)), mean, atol=1e-6)


def test_a_network_stays_in_the_mode_that_it_was_in():
    network = tiny_blueprint().build().eval()
    assert not Mirrored(network, OneOf()).training
    seen = []
    mirrored_run(lambda images: seen.append(images) or torch.ones(1, 2), OneOf())(torch.arange(6).reshape(1, 1, 2, 3))
    assert seen[1].tolist() == [[[[2, 1, 0], [5, 4, 3]]]]
