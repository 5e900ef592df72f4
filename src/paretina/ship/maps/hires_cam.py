"""HiResCAM: the map times its gradient, place by place, summed over channels; shows what the class logit is made of."""

from torch import Tensor

from paretina.ship.saliency import Saliency, Target


class HiResCam(Saliency):
    NAME = "hires-cam"
    SOURCE = "Draelos & Carin 2020 (arXiv:2011.08891), section 3"

    def __call__(self, target: Target, classes: Tensor) -> Tensor:
        found, gradient = target.gradients(classes)
        return (found * gradient).sum(1).clamp(min=0)


METHOD = HiResCam()
