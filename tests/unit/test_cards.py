"""Several cards side by side: the table, what can be told apart, and the prices."""

import dataclasses

import pytest
from sample_advice import KEEP, RECOMMENDED, sample_advice

from advisor.cli.cards import compare_cards, price_of_each
from advisor.errors import DeviceError, UsageError
from advisor.recommend.sessions import with_price, with_sessions
from advisor.records import Advice, Advices, Claim, Refusal
from reports import markdown, terminal
from reports.cards import build_cards, clearly_first
from reports.document import build_document


def predicted(value: float, low: float, high: float) -> Claim:
    return Claim(value=value, low=low, high=high, basis="predicted", source="a test")


def advice_on(name: str, hours: tuple[float, float, float]) -> Advice:
    run_s = predicted(*(3600 * x for x in hours))
    advice = sample_advice(recommended=dataclasses.replace(RECOMMENDED, run_s=run_s))
    return dataclasses.replace(advice, device=dataclasses.replace(advice.device, name=name))


SLOW, FAST = advice_on("Tesla T4", (5.0, 4.0, 6.0)), advice_on("NVIDIA L4", (3.0, 2.0, 3.9))


def test_the_first_is_said_only_where_intervals_lie_apart() -> None:
    assert clearly_first((SLOW, FAST)) == 1
    assert clearly_first((SLOW, advice_on("NVIDIA L4", (3.0, 2.0, 4.1)))) is None
    assert clearly_first((SLOW,)) is None


def test_a_card_without_a_time_leaves_it_open() -> None:
    unknown = Claim(value=None, basis="predicted", source="no step was timed")
    untimed = sample_advice(recommended=dataclasses.replace(RECOMMENDED, run_s=unknown))
    assert clearly_first((SLOW, untimed)) is None


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_table(lang: str) -> None:
    priced = [with_sessions(with_price(one, 0.4), 3600.0) for one in (SLOW, FAST)]
    found = Advices(advices=tuple(priced), refused=(Refusal(gpu="P4", message="nothing fits"),))
    document = build_cards(found, lang)  # type: ignore[arg-type]
    text = markdown.render(document)
    for expected in ("Tesla T4", "NVIDIA L4", "P4: nothing fits", "1.2"):
        assert expected in text
    assert ("NVIDIA L4 surely" in text) == (lang == "en")
    table = document.sections[0].blocks[0]
    assert table.chosen == 1  # type: ignore[union-attr]
    assert terminal.render(document) is not None


def test_what_a_run_costs_is_in_the_report_of_one_card() -> None:
    text = markdown.render(build_document(with_sessions(with_price(SLOW, 0.5), 9 * 3600.0), None, "en"))
    assert "Price of the run" in text
    assert "Sessions of 9 h" in text
    assert "Price of the run" not in markdown.render(build_document(SLOW, None, "en"))


def test_cards_that_do_not_fit_are_said() -> None:
    def advise(name: str, k: int) -> Advice:
        if name == "small":
            raise DeviceError("not even micro-batch 2 fits")
        return SLOW

    found = compare_cards(["large", "small"], advise)
    assert (len(found.advices), found.refused[0].gpu) == (1, "small")
    with pytest.raises(DeviceError, match="not even"):
        compare_cards(["small", "small"], advise)


def test_prices_go_with_the_cards() -> None:
    assert price_of_each(None, 0) == [None]
    assert price_of_each([0.5], 3) == [0.5, 0.5, 0.5]
    assert price_of_each([0.5, 0.1], 2) == [0.5, 0.1]
    for wrong, num in (([0.5, 0.1], 3), ([-1.0], 1), ([float("inf")], 1)):
        with pytest.raises(UsageError, match="--price-per-hour"):
            price_of_each(wrong, num)


def test_one_json_object() -> None:
    from advisor import schema

    found = Advices(advices=(SLOW, FAST))
    assert schema.from_json(Advices, found.to_json(), where="a test") == found
    assert found.to_json().startswith('{"schema":') or '"schema": "cfgadvise.advices/1"' in found.to_json()
    assert KEEP in SLOW.options
