"""Parses image sizes, without importing torch."""


def resolutions_named(text: str) -> tuple[int, ...]:
    """Parses sizes such as 224, 96,128,160 or 96:224:16, which is start:stop:step with the stop included.

    Raises:
        ValueError: the text is none of these, the steps miss the stop, or a size is given twice.
    """
    found: list[int] = []
    for part in text.split(","):
        numbers = part.strip().split(":")
        if len(numbers) not in (1, 3) or not all(number.isdecimal() and number.isascii() for number in numbers):
            raise ValueError(
                f"a resolution is a number of pixels (224), a list (96,128,160) or start:stop:step (96:224:16), got {text!r}"
            )
        start, stop, step = (int(number) for number in (numbers if len(numbers) == 3 else (part, part, "1")))
        if numbers == ["0"]:
            raise ValueError("a resolution is at least 1 pixel, got 0")
        if start < 1 or step < 1 or stop < start:
            raise ValueError(f"start:stop:step needs 1 <= start <= stop and step >= 1, got {part.strip()!r}")
        if (stop - start) % step:
            below = stop - (stop - start) % step
            raise ValueError(
                f"{part.strip()!r} never reaches {stop}: write {start}:{below}:{step} or {start}:{below + step}:{step}"
            )
        found += range(start, stop + 1, step)
    twice = [size for size in found if found.count(size) > 1]
    if twice:
        raise ValueError(f"{twice[0]} pixels are given twice in {text!r}; leave one out")
    return tuple(found)
