"""Pictures drawn for one judgement serve the next."""

import pytest
import torch
from small_run import NUM_CLASSES, SMALL

from trainer.amounts import MAX_IN_SWEEP
from trainer.drawn import Drawing, DrawnPictures
from trainer.model import build_model
from trainer.oom import Pieces

ONE = Drawing(samples=100, guidance=1.0, num_steps=2, seed=3)


class _Drawer:
    """Draws, and counts how often the network was called for it."""

    def __init__(self) -> None:
        self.drawn, self._model, self._calls = DrawnPictures(), build_model(SMALL, (1, 8, 8), NUM_CLASSES, seed=0), 0
        self._model.register_forward_pre_hook(lambda *_: self._count())

    def _count(self) -> None:
        self._calls += 1

    def __call__(self, drawing: Drawing, count: int) -> tuple[torch.Tensor, bool]:
        before = self._calls
        pictures = self.drawn.of(drawing, self._model, torch.arange(count) % NUM_CLASSES, Pieces())
        return pictures, self._calls > before


@pytest.fixture
def draw() -> _Drawer:
    return _Drawer()


def test_the_first_of_many_are_those_that_few_would_be(draw):
    many, _ = draw(ONE, 40)
    again, was_drawn = draw(ONE, 24)
    assert not was_drawn and torch.equal(again, many[:24])
    few, was_drawn = _Drawer()(ONE, 24)
    assert was_drawn and torch.allclose(few, again, atol=1e-5)


@pytest.mark.parametrize("change", [{"samples": 200}, {"guidance": 2.0}, {"num_steps": 3}, {"seed": 4}])
def test_whatever_they_depend_on_makes_new_ones(draw, change):
    first, _ = draw(ONE, 24)
    other, was_drawn = draw(ONE._replace(**change), 24)
    assert was_drawn and (change.keys() == {"samples"} or not torch.equal(first, other))


def test_more_than_are_kept_are_drawn(draw):
    draw(ONE, 24)
    assert draw(ONE, 32)[1]
    many, _ = draw(ONE, MAX_IN_SWEEP + NUM_CLASSES)
    assert len(many) == MAX_IN_SWEEP + NUM_CLASSES
    assert draw(ONE, MAX_IN_SWEEP + NUM_CLASSES)[1] and not draw(ONE, MAX_IN_SWEEP)[1]


def test_what_is_of_no_more_use_is_forgotten(draw):
    other = ONE._replace(samples=200)
    draw(ONE, 8), draw(other, 8)
    draw.drawn.forget_others([200])
    assert not draw(other, 8)[1] and draw(ONE, 8)[1]
    draw.drawn.forget(100)
    assert draw(ONE, 8)[1] and not draw(other, 8)[1]
