"""`--groups` of train: what it is for, said before anything is read."""

import pytest
from click.testing import CliRunner

from paretina.cli.program import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("clipart", "--groups", "folder"), "--groups is for folders with a subfolder for each class, and clipart is none"),
        (("photos.csv", "--groups", "folder"), "name the column of groups: data.group=NAME"),
        (("photos", "--groups", ""), "--groups is empty; give folder, a regular expression with parentheses, or a .csv file"),
    ],
)
def test_what_groups_cannot_be_for_is_said(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.csv").write_text("path,label,who\n0.png,a,p\n1.png,b,q\n")
    (tmp_path / "photos").mkdir()
    ended = CliRunner().invoke(main, ["train", *words, "--model", "resnet18"], prog_name="paretina")
    assert ended.exit_code == 2
    assert said in " ".join(ended.output.split())
    assert not (tmp_path / "runs").exists()
