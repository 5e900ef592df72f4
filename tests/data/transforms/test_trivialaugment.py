import torch
from torchvision.transforms import v2

from paretina.clock import START
from paretina.data.transforms.trivialaugment import TrivialAugment


def test_is_that_of_torchvision():
    image = torch.randint(256, (3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    library = v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR, fill=[255, 255, 255])
    for seed in range(20):
        torch.manual_seed(seed)
        wanted = library(image)
        torch.manual_seed(seed)
        assert torch.equal(TrivialAugment(fill="white")(image, 16, START), wanted)
