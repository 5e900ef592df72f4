"""`--groups` of train: what it is for, said before anything is read."""

import PIL.Image
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


def test_data_check_takes_the_fields_that_train_needs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(8):
        PIL.Image.new("RGB", (20 + number, 20), (30 * number, 0, 0)).save(f"{number}.png")
    lines = [f"{number}.png,{'ab'[number % 2]},p{number // 3}" for number in range(8)]
    (tmp_path / "named.csv").write_text("\n".join(["path,species,patient", *lines]))
    ended = CliRunner().invoke(
        main, ["data", "check", "named.csv", "data.label=species", "group=patient"], prog_name="paretina"
    )
    assert ended.exit_code == 0, ended.output
    assert ended.output.startswith("2 classes, 8 pictures")
    ended = CliRunner().invoke(main, ["data", "check", "named.csv", "data.lable=species"], prog_name="paretina")
    assert "Table has no field 'lable'; did you mean 'label'?" in ended.output


def test_pictures_with_several_labels_are_counted_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(8):
        PIL.Image.new("RGB", (20 + number, 20), (30 * number, 0, 0)).save(f"{number}.png")
    lines = [f"{number}.png,{('a|b', 'a|c', 'b', 'a|b|c')[number % 4]}" for number in range(8)]
    (tmp_path / "several.csv").write_text("\n".join(["path,label", *lines]))
    ended = CliRunner().invoke(main, ["data", "check", "several.csv"], prog_name="paretina")
    assert ended.output.startswith("3 classes, 8 pictures")
