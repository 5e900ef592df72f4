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

Targets = Float[Tensor, "batch classes"]
"""Class probabilities; each row sums to one."""

Logits = Float[Tensor, "batch classes"]
Map = Float[Tensor, "batch _channel _rows _columns"]
"""What stands at the border of two stages."""

Features = Float[Tensor, "batch _feature"]
Ids = Int[Tensor, " batch"]
"""The number of each sample in its split."""

Loss = Float[Tensor, ""]
