import json

import pytest

from paretina import verbs
from paretina.model.family import network_named
from paretina.model.network_file import NetworkFile, is_network_file, read_network, write_network
from paretina.spec import encode

BLUEPRINT = network_named("resnet8_w16_s2").blueprint


def test_what_is_written_is_read(tmp_path):
    path = write_network(tmp_path / "new" / "mine.json", "mine", BLUEPRINT, "by hand")
    assert read_network(path) == NetworkFile(name="mine", blueprint=BLUEPRINT, origin="by hand")


def test_a_bare_blueprint_is_named_after_its_file(tmp_path):
    (tmp_path / "bare.json").write_text(json.dumps(encode(BLUEPRINT)))
    assert read_network(tmp_path / "bare.json") == NetworkFile(name="bare", blueprint=BLUEPRINT)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not JSON"), ("[]", "does not hold a network"), ('{"name": "x"}', "does not hold a network")],
)
def test_other_files_are_told(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_network(tmp_path / "x.json")


def test_a_wrong_field_has_the_near_name(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"name": "x", "blueprint": {**encode(BLUEPRINT), "stem_": 1}}))
    with pytest.raises(ValueError, match="did you mean 'stem'"):
        read_network(tmp_path / "x.json")


def test_only_json_is_written_and_recognised(tmp_path):
    with pytest.raises(ValueError, match=r"ends with \.json"):
        write_network(tmp_path / "x.txt", "x", BLUEPRINT)
    assert is_network_file("a/b.JSON")
    assert not is_network_file("resnet18")
    assert not is_network_file('{"kind": "x.json')


def test_every_way_to_name_a_model_takes_the_file(tmp_path):
    from paretina.measure.plan import Plan
    from paretina.search.frontier.candidates import grid

    path = str(write_network(tmp_path / "mine.json", "mine", BLUEPRINT))
    assert verbs.ask("shapes", path, "plain", "none", "cpu").asked.model == BLUEPRINT
    assert verbs.ask("shapes", recipe="plain", weights="none", device="cpu", fields={"model": path}).asked.model == BLUEPRINT
    assert verbs.show(path).name == "mine"
    (candidate,) = grid("shapes", Plan(), [path], [32], ["plain"])
    assert (candidate.name, candidate.asked.model.stages) == ("mine-32-plain", BLUEPRINT.stages)
    with pytest.raises(verbs.MisuseError, match="there is no file"):
        verbs.ask("shapes", str(tmp_path / "other.json"), "plain", "none", "cpu")
