"""Maps against what they must be, and against another library."""

from dataclasses import replace

import pytest
import torch

from paretina.cli import explain
from paretina.model.blueprint import Preprocessing
from paretina.model.family import networks
from paretina.model.heads.pool import PoolHead
from paretina.model.wirings.dropped_tokens import DroppedTokens
from paretina.ship.faithfulness import area, faithfulness, filled, rank_correlation, ranking
from paretina.ship.maps.cam import signed
from paretina.ship.overlay import on_picture, overlaid, place_of
from paretina.ship.saliency import Saliency, method_named, methods, scaled, target_of
from tiny import row, tiny_blueprint


def network(seed=0, **fields):
    torch.manual_seed(seed)
    found = tiny_blueprint(row(1, 8, 2), row(1, 16, 2), resolution=32, classes=4, **fields).build().eval()
    with torch.no_grad():
        found.head.classifier.weight.normal_()
    return found


def images(count=2, side=32):
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


CLASSES = torch.tensor([1, 3])


def dropping():
    """A ViT that drops half of its 16 tokens before the second block and half of the others before the third."""
    vit = networks()["vit_tiny"].blueprint
    stage = replace(vit.stages[0], depth=4, wiring=DroppedTokens(keep=0.5, after=(1, 2)))
    torch.manual_seed(0)
    return replace(vit, resolution=64, classes=4, stages=(stage,)).build().eval()


@pytest.mark.parametrize("name", methods())
def test_maps_are_not_below_zero_and_one_a_picture(name):
    found = method_named(name).maps(dropping() if name == "kept-tokens" else network(), images(side=64), CLASSES)
    assert found.shape[0] == 2
    assert found.ndim == 3
    assert found.min() >= 0
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("head", [PoolHead(), PoolHead(width=24)])
def test_the_mean_of_cam_is_the_logit_without_bias(head):
    net = network(head=head)
    target = target_of(net, images())
    with torch.no_grad():
        logits = net(images())
    found = signed(target, CLASSES).mean((1, 2))
    wanted = logits.gather(1, CLASSES[:, None])[:, 0] - net.head.classifier.bias[CLASSES]
    assert torch.allclose(found, wanted, atol=1e-4)


def test_grad_cam_and_hires_cam_are_cam_before_a_mean_and_a_linear_layer():
    target = target_of(network(), images())
    cam = method_named("cam")(target, CLASSES)
    for name in ("grad-cam", "hires-cam"):
        found = method_named(name)(target, CLASSES)
        assert torch.allclose(scaled(found), scaled(cam), atol=1e-5)


def test_cam_refuses_another_head_and_says_what_to_take():
    vit = networks()["vit_tiny"].blueprint
    net = replace(vit, resolution=32, classes=4, stages=tuple(replace(each, depth=2) for each in vit.stages)).build().eval()
    with pytest.raises(ValueError, match="use --method grad-cam"):
        method_named("cam")(target_of(net, images()), CLASSES)
    found = method_named("grad-cam")(target_of(net, images()), CLASSES)
    assert found.shape == (2, 2, 2)
    target = target_of(net, images())
    with torch.no_grad():
        assert torch.allclose(target.logits(target.map), net(images()), atol=1e-5)
        _, gradient = target.gradients(CLASSES)
    assert gradient.abs().max() > 0  # the class token reads these places


@pytest.mark.parametrize("name", ["grad-cam", "grad-cam++", "hires-cam", "xgrad-cam", "layer-cam"])
def test_agrees_with_another_library(name):
    library = pytest.importorskip("pytorch_grad_cam")
    kinds = {
        "grad-cam": "GradCAM",
        "grad-cam++": "GradCAMPlusPlus",
        "hires-cam": "HiResCAM",
        "xgrad-cam": "XGradCAM",
        "layer-cam": "LayerCAM",
    }
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    net = network()
    own = method_named(name)(target_of(net, images()), CLASSES)
    with getattr(library, kinds[name])(net, [net.stages[-1]]) as theirs:
        targets = [ClassifierOutputTarget(int(each)) for each in CLASSES]
        wanted = torch.from_numpy(theirs(images().float() / 255, targets))
    found = torch.nn.functional.interpolate(own[:, None], (32, 32), mode="bilinear")[:, 0]
    low, high = found.flatten(1).amin(1)[:, None, None], found.flatten(1).amax(1)[:, None, None]
    found = (found - low) / (high - low).clamp(min=1e-12)
    assert torch.corrcoef(torch.stack((found.flatten(), wanted.flatten())))[0, 1] > 0.98


def test_what_the_network_does_not_see_has_no_heat():
    preprocessing = Preprocessing(crop=0.5)
    assert place_of(40, 60, preprocessing) == (10, 20, 20, 20)
    found = on_picture(torch.ones(4, 4), 40, 60, preprocessing)
    assert found.sum() == pytest.approx(400)
    assert found[10:30, 20:40].min() == pytest.approx(1)
    assert overlaid(torch.zeros(3, 40, 60, dtype=torch.uint8), torch.ones(4, 4), preprocessing).size == (60, 40)


def test_area_is_by_trapezoids():
    assert area([0.9, 0.5, 0.2, 0.1, 0.05]) == pytest.approx(0.31875)


@pytest.mark.slow
def test_a_map_of_what_the_network_reads_is_the_more_faithful_one():
    """A network that reads the upper left quarter only: its map must beat one of the opposite quarter and a random one."""

    class Quarter(Saliency):
        NAME, SOURCE = "right", "this test"

        def __call__(self, target, classes):
            found = torch.zeros(len(target.images), 8, 8)
            found[:, :4, :4] = 1
            return found

    class Opposite(Quarter):
        NAME = "wrong"

        def __call__(self, target, classes):
            return super().__call__(target, classes).flip(1, 2)

    net = network()

    def reads(x, extras=False):
        score = x.float()[:, 0, :16, :16].mean((1, 2)) / (255 if x.dtype == torch.uint8 else 1)
        return torch.stack((8 * score, 4 - 8 * score, score - 9, score - 9), 1)

    net.forward = reads
    some = [torch.full((3, 32, 32), 230, dtype=torch.uint8) for _ in range(4)]
    for number, image in enumerate(some):
        image[:, 16:] = 10 * number
    found = faithfulness(net, some, [Quarter(), Opposite()]).methods
    assert found["right"].intervals()["deletion"].value < found["wrong"].intervals()["deletion"].value
    assert found["right"].intervals()["road"].value > found["wrong"].intervals()["road"].value
    assert found["right"].intervals()["road"].value > found["random"].intervals()["road"].value


def test_missing_pixels_are_filled_in_from_around():
    image = torch.full((3, 16, 16), 100, dtype=torch.uint8)
    order = ranking(torch.rand(16, 16, generator=torch.Generator().manual_seed(0)))
    found = filled(image, order[:100], torch.Generator().manual_seed(0))
    assert (found.float() - 100).abs().max() < 15  # the noise
    kept = torch.ones(256, dtype=torch.bool)
    kept[order[:100]] = False
    assert torch.equal(found.flatten(1)[:, kept], image.flatten(1)[:, kept])


def test_rank_correlation_is_spearmans():
    one = torch.arange(9.0).view(3, 3)
    assert rank_correlation(one, one**3) == pytest.approx(1)
    assert rank_correlation(one, -one) == pytest.approx(-1)
    assert rank_correlation(one, torch.zeros(3, 3)) == 0


def test_faithfulness_needs_pictures_for_an_interval():
    with pytest.raises(ValueError, match="at least 2 pictures"):
        faithfulness(network(), [images()[0]], [method_named("cam")])


@pytest.mark.parametrize("name", methods())
def test_a_method_that_reads_the_map_says_where_there_is_none(name):
    if method_named(name).READS_MAP:
        with pytest.raises(ValueError, match="does not see all tokens, so there is no map of them; use --method occlusion"):
            method_named(name).maps(dropping(), images(side=64), CLASSES)
    else:
        assert method_named(name).maps(dropping(), images(side=64), CLASSES).shape[0] == 2


def test_kept_tokens_are_drawn_where_they_are():
    net, some = dropping(), images(side=64)
    found = method_named("kept-tokens").maps(net, some, CLASSES)
    with torch.no_grad():
        kept = net(some, extras=True)[1]["kept_places"]
    assert found.shape == (2, 64, 64)
    assert [(found[0] >= number).sum() / 256 for number in (1, 2)] == [8, 4]  # of 16 places of 16 x 16 pixels
    assert torch.equal(found[:, 8::16, 8::16], kept)


def test_kept_tokens_of_a_network_that_keeps_all():
    with pytest.raises(ValueError, match="this network drops no tokens"):
        method_named("kept-tokens").maps(network(), images(), CLASSES)


def test_the_help_names_every_method():
    assert set(explain.METHODS.split(", ")) == set(methods())
