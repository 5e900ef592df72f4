"""Each tensor shape that crosses a function border, named once.

Axes are whole words; one that starts with an underscore may change between input and output.
While the tests run, jaxtyping and beartype check every annotation; otherwise they cost nothing.
"""

from jaxtyping import Float, Int, UInt8
from torch import Tensor

Image = UInt8[Tensor, "3 _height _width"]
"""One decoded picture: red, green, blue, 0 to 255."""

Images = UInt8[Tensor, "batch 3 _height _width"] | Float[Tensor, "batch 3 _height _width"]
"""A batch before the preprocessing of a network: uint8 from 0 to 255, or float from 0 to 1. Never normalised."""

Targets = Float[Tensor, "batch classes *places"]
"""Class probabilities; of dense tasks for each pixel, on the axes row and column.

A row, which is all classes of one picture or of one pixel, says nothing and weighs nothing where all of it is zero.
"""

Logits = Float[Tensor, "batch classes *places"]
"""One for each target; what they mean is said by the task."""

Mask = UInt8[Tensor, "_row _column"]
"""The number of the class of each pixel; 255 where it is not known."""

Map = Float[Tensor, "batch _channel _rows _columns"]
"""What stands at the border of two stages."""

View = Images | Map
"""What a network is given of a batch: images, or the maps that its frozen parts have made of them."""

Features = Float[Tensor, "batch _feature"]
Ids = Int[Tensor, " batch"]
"""The number of each sample in its split."""

Loss = Float[Tensor, ""]
