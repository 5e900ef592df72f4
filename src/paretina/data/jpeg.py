"""Decodes JPEG files and detects damaged ones.

Where coded data is damaged or missing, libjpeg makes up the rest, counts a warning, and continues; Pillow hides the count.
simplejpeg uses the same library, gives the same pixels, and raises the first warning as an error. Not every warning means wrong
pixels: some cameras and scanners leave bytes between the last row and the end, and such pictures only get a note.
"""

import re
from collections.abc import Iterator

import numpy as np
from simplejpeg import decode_jpeg

from paretina.data.remarks import remark

END = b"\xff\xd9"

START_OF_SCAN, TABLES = 0xDA, 0xC4

FRAMES = frozenset(range(0xC0, 0xD0)) - {TABLES, 0xC8, 0xCC}
"""Markers in front of the description of the picture."""

SEQUENTIAL = frozenset({0xC0, 0xC1})
"""Markers of baseline and sequential coding with Huffman codes."""

AFTER_SCAN = frozenset({END[1], START_OF_SCAN, TABLES})
"""Markers that often follow coded data."""

NOTES = frozenset({*range(0xE0, 0xF0), 0xFE})
"""Markers in front of application data and comments."""

TURNS = frozenset({0xE1, 0xE2})
"""Markers of application segments that can say that a picture is turned, or that it is one of several."""

JFIF, ADOBE, RESTARTS = 0xE0, 0xEE, 0xDD

BARE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a segment that libjpeg skips in the header."""

ANY_MARKER = re.compile(rb"\xff[\x01-\xfe]")

MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""The end of coded data: 0xFF followed by neither a zero, which makes it data, nor a restart marker."""

MISSING = re.compile("premature end of data segment|bad Huffman code|bad arithmetic code|instead of RST")
"""Warnings of libjpeg that mean that pixels were made up."""

HARMLESS = re.compile("extraneous bytes|Adobe|JFIF|ICC|progression sequence|SOS parameters")
"""Warnings of libjpeg that need not mean that a pixel is wrong."""

LEFT = re.compile(r"(\d+) extraneous bytes before marker 0x(\w\w)")

RUN = 64
"""Equal bytes in a row that no photo has in its coded data: zeros would say the same coefficient more than a hundred times."""

ZEROS = bytes(RUN)

ONES = b"\xff" * RUN + b"\0"
"""Any number of 0xFF may stand before a marker, but this is none: libjpeg takes it all for a single byte of data."""

ODD_BYTES = 8
"""Extra bytes allowed in a progressive file. Cameras do not write such files, and other programs leave no extra bytes."""

LEFT_OVER = "may be damaged: coded data is left over after the last row"

OUT_OF_ORDER = "may be damaged: a scan is missing or in the wrong place"


def jpeg_pixels(data: bytes, width: int, height: int, colours: str = "RGB") -> np.ndarray | None:
    """Decodes to height x width x colour; None if this reader does not support the file, which need not be damaged.

    A file that lacks only its end marker counts as complete.

    Args:
        width, height: the size to decode to, which must be the full size or what libjpeg makes of 1/2, 1/4 or 1/8 of it.
        colours: "RGB", or "CMYK" for a file of four colours.

    Raises:
        ValueError: the file is damaged, so that pixels would be made up.
    """
    pixels, trouble = attempt(data, width, height, colours, strict=True)
    if HARMLESS.search(trouble):
        data = plain(data)  # only the first warning is reported, which must not hide another
        pixels, trouble = attempt(data, width, height, colours, strict=True)
    if "Premature end of JPEG file" in trouble:
        if not all_scans(data):
            raise ValueError("is damaged (it ends before its last scan)")
        data += END
        pixels, trouble = attempt(data, width, height, colours, strict=True)
    if trouble and not MISSING.search(trouble) and not HARMLESS.search(trouble):
        data = up_to_scan(data)  # an error: what follows the coded data, or is within it, is not JPEG
        pixels, trouble = attempt(data, width, height, colours, strict=True)
    left = LEFT.search(trouble)
    count, after = (int(left[1]), int(left[2], 16)) if left else (0, 0)
    inside = count > 0 and after not in AFTER_SCAN and has_restarts(data)  # each interval can end early
    if MISSING.search(trouble) or inside:
        raise ValueError(f"is damaged ({trouble})")
    odd = HARMLESS.search(trouble) is not None  # with a plain header: left over, or scans out of order
    if odd:
        pixels, error = attempt(data, width, height, colours, strict=False)
        if error:
            data = up_to_scan(data)
            pixels, _ = attempt(data, width, height, colours, strict=False)
    if pixels is None or pixels.shape[:2] != (height, width):
        return None
    check_runs(data, count if after == END[1] else 0)
    if count > ODD_BYTES and is_progressive(data):
        raise ValueError(f"is damaged ({trouble})")
    if odd:
        remark(LEFT_OVER if left else OUT_OF_ORDER)
    return pixels


def attempt(data: bytes, width: int, height: int, colours: str, strict: bool) -> tuple[np.ndarray | None, str]:
    """The pixels, or libjpeg's message; with `strict`, its warnings are errors."""
    try:
        return decode_jpeg(data, colours, min_height=height, min_width=width, strict=strict), ""
    except ValueError as error:
        return None, str(error) or type(error).__name__


# --- the file itself ---------------------------------------------------------------------------------------------------


def segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, body, and where what follows begins, for each segment; coded data is skipped. Ends where it is not JPEG."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != END[1]:
        if data[at + 1] == 0xFF:  # any number of these may stand before a marker
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end > len(data):
            return
        yield data[at + 1], data[at + 4 : end], end
        found = MARKER.search(data, end) if data[at + 1] == START_OF_SCAN else None
        at = found.start() if found else end


def plain(data: bytes) -> bytes:
    """Removes what libjpeg warns about before the coded data: stray bytes, comments, unusual versions and codes.

    Two application segments determine the colours and are kept. Whatever is not JPEG is kept unchanged, from there to the end.
    """
    kept, at = [bytearray(data[:2])], 2
    components, sequential = 3, False
    adobe: bytearray | None = None
    while found := ANY_MARKER.search(data, at):
        start, marker = found.start(), data[found.end() - 1]
        if marker in BARE:
            at = found.end()
            continue
        at = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        segment = bytearray(data[start:at])
        if marker < min(FRAMES) or marker in (0xD8, END[1]) or at < start + 4 or at > len(data):
            at = start
            break
        if marker == START_OF_SCAN:
            if sequential and len(segment) > 7:
                segment[-3:] = b"\0\x3f\0"  # libjpeg decodes it like this whatever the segment says
            kept.append(segment)
            break
        if marker in FRAMES and len(segment) > 9:
            components, sequential = segment[9], marker in SEQUENTIAL
        if marker == JFIF and segment[4:9] == b"JFIF\0" and len(segment) >= 18:
            segment[9] = 1
        elif marker == ADOBE and segment[4:9] == b"Adobe" and len(segment) >= 16:
            adobe = segment
        elif marker in NOTES:
            continue
        kept.append(segment)
    known = {3: (0, 1), 4: (0, 2)}.get(components)
    if adobe and known and adobe[15] not in known:
        adobe[15] = known[1]  # what libjpeg takes unknown codes for
    return b"".join(kept) + data[at:]


def plain_size(data: bytes) -> tuple[int, int] | None:
    """Height and width of a JPEG file of one or three colours that nothing turns; None for all others, damaged ones included.

    A turn is said in application segment 1, in Exif or in XMP. Takes a tenth of the time of Pillow, which looks for much more.
    """
    if data[:2] != b"\xff\xd8":
        return None
    size = None
    for marker, body, _ in segments(data):
        if marker == START_OF_SCAN:
            return size
        if marker in TURNS:
            return None
        if marker in FRAMES:
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            if len(body) < 6 or body[0] != 8 or body[5] not in (1, 3) or not height or not width or size is not None:
                return None
            size = height, width
    return None


def has_restarts(data: bytes) -> bool:
    return any(marker == RESTARTS and any(body) for marker, body, _ in segments(data))


def is_progressive(data: bytes) -> bool:
    return any(marker in FRAMES and marker & 3 == 2 for marker, _, _ in segments(data))


def up_to_scan(data: bytes) -> bytes:
    """The file up to the end of its first scan, if that scan is the whole picture; else the file as it is."""
    count = 0
    for marker, body, end in segments(data):
        if marker in FRAMES:
            if marker not in SEQUENTIAL:
                return data
            count = body[5]
        elif marker == START_OF_SCAN:
            found = MARKER.search(data, end)
            return data[: found.start()] + END if found and body[0] == count else data
    return data


def all_scans(data: bytes) -> bool:
    """Whether a progressive file has all bits of every coefficient; true for any other file."""
    bits: dict[int, list[int]] = {}
    for marker, body, _ in segments(data):
        if marker in FRAMES and marker & 3 != 2:
            return True
        if marker in FRAMES:
            bits = {component: [-1] * 64 for component in body[6 : 6 + 3 * body[5] : 3]}
        elif marker == START_OF_SCAN:
            first, last, precision = body[-3:]
            for component in body[1 : 1 + 2 * body[0] : 2]:
                if component in bits:
                    bits[component][first : last + 1] = [precision & 15] * (last + 1 - first)
    return not any(any(left) for left in bits.values())


def check_runs(data: bytes, left: int) -> None:
    """Rejects long runs of one byte in coded data: a part of the file was never written, or was erased.

    Not in progressive files; and not zeros in flat pictures, where they can mean that nothing changes.

    Args:
        left: bytes at the end that are not decoded.

    Raises:
        ValueError: there is such a run.
    """
    first: dict[int, int] = {}
    for marker, body, start in segments(data):
        if marker == TABLES:
            first |= first_symbols(body)
        elif marker in FRAMES and marker not in SEQUENTIAL:
            return
        elif marker == START_OF_SCAN:
            if data.find(ZEROS, start) < 0 and data.find(ONES, start) < 0:
                return
            found = MARKER.search(data, start)
            end = found.start() if found else len(data)
            if data.find(ONES, start, end) >= 0:
                raise ValueError(f"is damaged ({RUN} or more bytes of its coded data are erased)")
            if all(is_flat(first, tables) for tables in body[2 : 2 + 2 * body[0] : 2]):
                continue
            for run in re.finditer(rb"\0{%d,}" % RUN, data[start:end]):
                length = len(run[0]) - (left if start + run.end() == end else 0)
                if length >= RUN:
                    raise ValueError(f"is damaged ({length:,} bytes of its coded data are zero)")


def first_symbols(body: bytes) -> dict[int, int]:
    """The symbol of the all-zero code in each Huffman table of a segment, by class (16 for AC coefficients) and number."""
    found = {}
    at = 0
    while at + 17 < len(body):
        found[body[at]] = body[at + 17]  # the first symbol has the shortest code, which is all zeros
        at += 17 + sum(body[at + 1 : at + 17])
    return found


def is_flat(first: dict[int, int], tables: int) -> bool:
    """Whether zeros can follow one another in a component that uses these tables: no detail, even or a shallow ramp.

    The low four bits of a symbol count the bits of a number. A ramp of more than one step a block would not be without detail.
    """
    return first.get(tables >> 4, 0) <= 1 and first.get(16 + (tables & 15), 0) & 15 == 0
