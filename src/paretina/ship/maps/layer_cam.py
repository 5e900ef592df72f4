"""LayerCAM: the map times what is positive of its gradient, place by place, summed over channels."""

from torch import Tensor

from paretina.ship.saliency import Saliency, Target


class LayerCam(Saliency):
    NAME = "layer-cam"
    SOURCE = "Jiang et al. 2021, IEEE TIP 30, equations 6 to 8"

    def __call__(self, target: Target, classes: Tensor) -> Tensor:
        found, gradient = target.gradients(classes)
        return (found * gradient.clamp(min=0)).sum(1).clamp(min=0)


METHOD = LayerCam()
