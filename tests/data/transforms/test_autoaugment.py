import pytest
import torch
from torchvision.transforms import v2

from paretina.clock import START
from paretina.data.transforms.autoaugment import AutoAugment


@pytest.mark.parametrize("policy", ["imagenet", "cifar10", "svhn"])
def test_is_the_policy_of_torchvision(policy):
    image = torch.randint(256, (3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    library = v2.AutoAugment(v2.AutoAugmentPolicy(policy), v2.InterpolationMode.NEAREST, fill=[128, 128, 128])
    for seed in range(20):
        torch.manual_seed(seed)
        wanted = library(image)
        torch.manual_seed(seed)
        assert torch.equal(AutoAugment(policy=policy, interpolation="nearest")(image, 16, START), wanted)


def test_refuses_an_unknown_policy_with_the_near_name():
    with pytest.raises(ValueError, match="did you mean 'cifar10'"):
        AutoAugment(policy="cifar100")
