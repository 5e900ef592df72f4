"""Names the tensor shapes that are passed between functions.

Axes are whole words; one that starts with an underscore may change between input and output.
During the tests, jaxtyping and beartype check every annotation; otherwise they cost nothing.
"""

from jaxtyping import Float, Int, UInt8
from torch import Tensor

Image = UInt8[Tensor, "3 _height _width"]
"""One decoded picture: red, green, blue, 0 to 255."""

Images = UInt8[Tensor, "batch 3 _height _width"] | Float[Tensor, "batch 3 _height _width"]
"""A batch before the preprocessing of a network: uint8 from 0 to 255, or float from 0 to 1. Never normalised."""

Targets = Float[Tensor, "batch classes *places"]
"""Class probabilities; in dense tasks for each pixel, with row and column as the last axes.

All zeros over the classes of a picture, or of a pixel, mean "unlabelled" and get no weight.
"""

Logits = Float[Tensor, "batch classes *places"]
"""One for each target; their meaning depends on the task."""

Mask = UInt8[Tensor, "_row _column"]
"""Class index of each pixel; 255 where unknown."""

Map = Float[Tensor, "batch _channel _rows _columns"]
"""A feature map between two stages."""

View = Images | Map
"""What a network is given of a batch: images, or the maps that its frozen parts have made of them."""

Features = Float[Tensor, "batch _feature"]
Ids = Int[Tensor, " batch"]
"""Index of each sample in its split."""

Loss = Float[Tensor, ""]
