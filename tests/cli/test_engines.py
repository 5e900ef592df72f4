from pathlib import Path

from paretina.cli.engines import resumed_by


def test_an_interrupted_study_is_continued_in_the_same_way():
    folder = Path("studies/my front")
    assert resumed_by("frontier", folder, None, None) == "paretina frontier --resume 'studies/my front'"
    assert resumed_by("scale", folder, 2, None).endswith("--workers 2")
    assert resumed_by("search", folder, None, "auto").endswith("--cluster auto")
    assert "--workers" not in resumed_by("search", folder, 1, None)
