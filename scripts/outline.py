"""Outline: writes src/paretina/verbs/outline.json, the names and fields that are known before torch is imported.

python scripts/outline.py           # writes the file
python scripts/outline.py --check   # writes nothing; fails where it is out of date
"""

import argparse
import sys

from paretina.verbs.outline import FILE, made, text_of


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes src/paretina/verbs/outline.json from the source.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail where the file is out of date")
    text = text_of(made())
    if parser.parse_args().check:
        if not FILE.exists() or FILE.read_text("utf-8") != text:
            print(f"out of date: {FILE.name}; run make docs", file=sys.stderr)
            return 1
        return 0
    FILE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
