"""The bounds of losses to come hold on recorded curves, and are not given where they could not."""

import json
from pathlib import Path

import pytest

from reports.outlook import FAR, NUM_CURVES, NUM_INSIDE, NUM_LATER, outlook

RECORDED = Path(__file__).parents[1] / "golden" / "loss_curves.json"
FALLING = [(1000 * k, 0.2 * k**-0.3) for k in range(1, 13)]


def recorded() -> list[list[tuple[int, float]]]:
    curves = json.loads(RECORDED.read_text(encoding="utf-8"))["curves"]
    return [list(zip(one["samples"], one["loss"], strict=True)) for one in curves]


def test_how_often_they_held_is_what_the_report_says() -> None:
    seen = [
        bounds.low <= loss <= bounds.high
        for curve in recorded()
        for k in range(1, len(curve))
        for samples, loss in curve[k:]
        if (bounds := outlook(curve[:k], samples)) is not None
    ]
    assert (len(recorded()), len(seen), sum(seen)) == (NUM_CURVES, NUM_LATER, NUM_INSIDE)
    assert NUM_INSIDE >= 0.9 * NUM_LATER


def test_a_steady_fall_is_bracketed_by_itself_and_by_a_halt() -> None:
    bounds = outlook(FALLING, 24_000)
    assert bounds is not None and bounds.value is None and bounds.basis == "predicted"
    assert bounds.low == pytest.approx(0.2 * 24**-0.3, rel=1e-6)
    assert bounds.high == pytest.approx(FALLING[-1][1], rel=1e-6)


def test_the_same_curve_has_the_same_bounds() -> None:
    curve = recorded()[0]
    assert outlook(curve[:12], curve[-1][0]) == outlook(curve[:12], curve[-1][0])


@pytest.mark.parametrize(
    ("curve", "samples"),
    [
        pytest.param([], 1000, id="nothing yet"),
        pytest.param(FALLING[:4], 6000, id="too few"),
        pytest.param(FALLING, 12_000, id="already there"),
        pytest.param(FALLING, round(12_000 * FAR) + 1, id="too far"),
        pytest.param([(n, 1 / loss) for n, loss in FALLING], 20_000, id="rising"),
        pytest.param([(n, loss - 1) for n, loss in FALLING], 20_000, id="negative"),
        pytest.param([*FALLING[:-1], (12_000, float("nan"))], 20_000, id="not a number"),
    ],
)
def test_where_the_curve_cannot_tell_there_are_none(curve: list[tuple[int, float]], samples: int) -> None:
    assert outlook(curve, samples) is None
