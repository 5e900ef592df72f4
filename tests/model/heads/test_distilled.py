import pytest
import torch

from paretina.model.blueprint import MapShape, any_kit
from paretina.model.heads.distilled import DistilledHead
from paretina.model.norms.group import GroupNorm


def made(**kit):
    torch.manual_seed(0)
    return DistilledHead().make((MapShape(4, (2, 2), 16),), 3, any_kit(**kit)).eval()


def test_answers_with_the_mean_of_both():
    head, x = made(), [torch.randn(2, 4, 2, 2)]
    with torch.no_grad():
        label, teacher = head.both(x, {})
        assert not torch.allclose(label, teacher)
        torch.testing.assert_close(head(x, {}), (label + teacher) / 2)
        pooled = x[0].mean((2, 3)) / (1 + 1e-5) ** 0.5  # a norm with its first statistics
        torch.testing.assert_close(teacher, head.classifier.teacher.linear(pooled))


def test_each_classifier_learns_from_its_own_answer():
    head = made().train()
    label, _ = head.both([torch.randn(2, 4, 2, 2)], {})
    label.sum().backward()
    assert head.classifier.label.linear.weight.grad is not None
    assert head.classifier.teacher.linear.weight.grad is None


def test_classifiers_with_norms_that_stay_are_not_merged():
    head, x = made(norm=GroupNorm(groups=2)), [torch.randn(2, 4, 2, 2)]
    with torch.no_grad():
        before = head(x, {})
        head.classifier.fold()
        assert torch.equal(head(x, {}), before)
        assert len(head.both(x, {})) == 2


def test_once_merged_there_is_one_answer():
    head, x = made(), [torch.randn(2, 4, 2, 2)]
    for each in (head.classifier.label, head.classifier.teacher):
        each.norm = None
    with torch.no_grad():
        before = head(x, {})
        head.classifier.fold()
        torch.testing.assert_close(head(x, {}), before)
    assert [name for name, _ in head.named_parameters()] == ["classifier.merged.weight", "classifier.merged.bias"]
    with pytest.raises(RuntimeError, match="in inference form both classifiers are merged"):
        head.both(x, {})
