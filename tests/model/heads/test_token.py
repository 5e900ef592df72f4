import pytest
import torch

from paretina.model.blueprint import MapShape, any_kit
from paretina.model.heads.token import TokenHead

MAPS = [torch.arange(16.0).view(2, 2, 2, 2)]
CLASS = torch.tensor([[1.0, 3.0], [4.0, 0.0]])
TEACHER = torch.tensor([[9.0, 3.0], [5.0, 6.0]])


def made(**fields):
    torch.manual_seed(0)
    return TokenHead(**fields).make((MapShape(2, (2, 2), 16),), 3, any_kit()).eval()


def test_reads_the_class_token_after_a_norm():
    head = made()
    # two channels are centred to 1 and -1, whichever is larger comes first
    wanted = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])
    torch.testing.assert_close(head.embedding(MAPS, {"class_token": CLASS}), wanted)
    torch.testing.assert_close(head(MAPS, {"class_token": CLASS}), head.classifier(wanted))


def test_without_tokens_the_mean_of_the_map_stands_for_them():
    head, mean = made(), MAPS[0].mean((2, 3))
    torch.testing.assert_close(head(MAPS, {}), head(MAPS, {"class_token": mean}))


def test_two_classifiers_read_their_own_tokens():
    head = made(distilled=True)
    extras = {"class_token": CLASS, "distillation_token": TEACHER}
    with torch.no_grad():
        label, teacher = head.both(MAPS, extras)
        torch.testing.assert_close(label, head.classifier.label(head.norm(CLASS)))
        torch.testing.assert_close(teacher, head.classifier.teacher(head.norm(TEACHER)))
        torch.testing.assert_close(head(MAPS, extras), (label + teacher) / 2)


def test_inference_form_is_one_layer_with_the_same_answer():
    head, extras = made(distilled=True), {"class_token": CLASS, "distillation_token": TEACHER}
    with torch.no_grad():
        before = head(MAPS, extras)
        head.classifier.fold()
        torch.testing.assert_close(head(MAPS, extras), before)
    assert head.classifier.merged.weight.shape == (3, 4)
    with pytest.raises(RuntimeError, match="in inference form both classifiers are merged"):
        head.both(MAPS, extras)


def test_a_missing_token_is_named():
    with pytest.raises(ValueError, match=r"reads class_token and distillation_token, but the stages give class_token; set Tok"):
        made(distilled=True)(MAPS, {"class_token": CLASS})


def test_one_classifier_has_no_two_answers():
    with pytest.raises(TypeError, match=r"TokenHead\(distilled=True\) has two"):
        made().both(MAPS, {"class_token": CLASS})
