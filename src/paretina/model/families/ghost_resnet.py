"""Ghost-ResNet-50: ResNet-50 with ghost modules in its blocks.

Source: Han et al. 2020 (arXiv:1911.11907), the experiments on large models. The paper says 13.0 and 6.5 million parameters and
2.2 and 1.2 thousand million MACs for ratio 2 and 4. Those are the MACs with every convolution of the blocks replaced, also
those of the shortcuts, and with stem and classifier as they are. The parameters cannot be reached so: of the 25.6 million of
ResNet-50 the classifier alone has 2.05. The released file does not help: its ghost modules have no norms, and some of its
weights are never used.
"""

from dataclasses import replace

from paretina.model.edits.ghost import Ghost
from paretina.model.families.resnet import R50
from paretina.model.family import Published

GHOST_R50_S2 = replace(Ghost(ratio=2)(R50), source="arXiv:1911.11907, Ghost-ResNet-50, s=2")
GHOST_R50_S4 = replace(Ghost(ratio=4)(R50), source="arXiv:1911.11907, Ghost-ResNet-50, s=4")

NOTE = "top-1 as listed by Papers with Code; parameters are our count, the paper has {} million"

NETWORKS = (
    Published("ghost_resnet50_s2", "ghost_resnet", GHOST_R50_S2, 13_953_512, 2.1510, None, 75.0, NOTE.format("13.0")),
    Published("ghost_resnet50_s4", "ghost_resnet", GHOST_R50_S4, 8_151_752, 1.1819, None, 74.1, NOTE.format("6.5")),
)
