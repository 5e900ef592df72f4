"""Words: numbers with their nouns, as every sentence of the program has them."""


def how_many(number: int | float, noun: str, form: str = "", plural: str = "") -> str:
    """Returns "1 picture", "3 pictures", "0.5 epochs".

    Args:
        noun: in the singular.
        form: how the number is written, as in format strings; unless told, whole numbers in full and others as with "g".
        plural: where it is not the noun with an s, or es behind s: "epochs fit" of "epoch fits".
    """
    text = format(number, form or ("g" if isinstance(number, float) else ""))
    several = plural or f"{noun}{'es' if noun.endswith('s') else 's'}"
    return f"{text} {noun if text == '1' else several}"
