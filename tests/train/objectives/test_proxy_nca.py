import pytest
import torch
import torch.nn.functional as F

from paretina.clock import START
from paretina.data.batch import Batch
from paretina.train.objectives.proxy_nca import ProxyNCA, nearness
from tiny import row, tiny_blueprint

TABLE = tiny_blueprint(row(1, 16, 1), row(1, 32, 2))


def batch_of(count=6):
    images = torch.randint(256, (count, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Batch((images,), torch.eye(3)[torch.arange(count) % 3], torch.arange(count))


def test_nearness_by_hand():
    features, proxies = torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    # at length 1: (0.6, 0.8) to (1, 0) and (0, 1)
    wanted = [-(0.4**2 + 0.8**2) / 0.5, -(0.6**2 + 0.2**2) / 0.5]
    assert nearness(features, proxies, 0.5)[0].tolist() == pytest.approx(wanted)


def test_is_that_of_distances():
    torch.manual_seed(0)
    features, proxies = torch.randn(5, 8), torch.randn(3, 8)
    distances = torch.cdist(F.normalize(features), F.normalize(proxies)).square()
    torch.testing.assert_close(nearness(features, proxies, 1 / 9), -9 * distances, atol=1e-4, rtol=1e-4)


def test_points_have_length_one_after_an_update_and_the_network_answers_with_the_nearest():
    torch.manual_seed(0)
    learner = ProxyNCA().make(TABLE.build(), None).train()
    last = learner.network.head.classifier
    assert last.weight.norm(dim=1).tolist() == pytest.approx([1.0] * 3)
    learner(batch_of(), START)["proxies"].backward()
    assert last.weight.grad.any()
    assert last.bias.grad is None
    with torch.no_grad():
        last.weight.sub_(0.5 * last.weight.grad)
    learner.updated(START)
    assert last.weight.norm(dim=1).tolist() == pytest.approx([1.0] * 3)
    learner.eval()
    logits, extras = learner.network(batch_of().images, extras=True)
    near = nearness(extras["embedding"], last.weight, 1.0)
    assert logits.argmax(1).tolist() == near.argmax(1).tolist()


def test_an_assembly_is_refused():
    from paretina.model.assemblies.divide import Divide
    from paretina.train.recipe import Recipe

    with pytest.raises(ValueError, match="ProxyNCA trains a single network, and the model is Ensemble"):
        ProxyNCA().check(Recipe(), Divide()(TABLE))
