"""``recommend`` for one or several cards that are not here, and what a run costs in money and sessions."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.cli.context import current_settings, print_answer, print_progress
from advisor.errors import DeviceError, UsageError

if TYPE_CHECKING:
    from advisor.records import Advice, Advices


def session_seconds(text: str | None) -> float | None:
    """Seconds of a session."""
    from advisor.units import parse_duration_s

    return None if text is None else parse_duration_s(text)


def price_of_each(prices: Sequence[float] | None, num_cards: int) -> list[float | None]:
    """A price per hour for every card: one for all, one for each in their order, or none.

    Raises:
        UsageError: if their number is another, or a price is no positive number.
    """
    num = max(1, num_cards)
    if not prices:
        return [None] * num
    for price in prices:
        if not 0 < price < float("inf"):
            raise UsageError(f"--price-per-hour must be a positive number such as 0.45, found {price}")
    if len(prices) not in (1, num):
        raise UsageError(f"--price-per-hour: give one price, or one for each of the {num} cards; found {len(prices)}")
    return [*prices] if len(prices) == num else [prices[0]] * num


def with_terms(advice: "Advice", price: float | None, session_s: float | None) -> "Advice":
    """The advice with what the run costs, and how it is cut."""
    from advisor.recommend.sessions import with_price, with_sessions

    advice = advice if price is None else with_price(advice, price)
    return advice if session_s is None else with_sessions(advice, session_s)


def require_comparable(others: dict[str, bool]) -> None:
    """Several cards give one table, which nothing can be applied from."""
    for option, is_given in others.items():
        if is_given:
            raise UsageError(f"{option} needs one card: give --gpu once")


def compare_cards(names: Sequence[str], advise: Callable[[str, int], "Advice"]) -> "Advices":
    """Advice for every card; those on which the step does not fit are said.

    Raises:
        DeviceError: if it fits on none.
    """
    from advisor.records import Advices, Refusal

    advices, refused = [], []
    for k, name in enumerate(names):
        try:
            advices.append(advise(name, k))
        except DeviceError as error:
            refused.append(Refusal(gpu=name, message=str(error)))
    if not advices:
        raise DeviceError("\n".join(one.message for one in refused))
    return Advices(advices=tuple(advices), refused=tuple(refused))


def answer_cards(found: "Advices", files: Sequence[Path], *, as_json: bool) -> None:
    """Write and print the comparison."""
    from advisor.storage import write_atomically
    from reports import terminal
    from reports.cards import build_cards

    for path in files:
        write_atomically(path, _as_text(found, path.suffix).rstrip("\n") + "\n")
        print_progress(f"wrote {path}")
    print_answer(found.to_json() if as_json else terminal.render(build_cards(found, current_settings().lang)))


def _as_text(found: "Advices", suffix: str) -> str:
    from reports import markdown
    from reports.blocks import Lang
    from reports.cards import build_cards

    lang = current_settings().lang
    if suffix == ".json":
        return found.to_json()
    if suffix == ".md":
        return markdown.render(build_cards(found, lang))
    from reports import html

    other: Lang = "zh" if lang == "en" else "en"
    return html.render([build_cards(found, one) for one in (lang, other)], records=found.to_json())
