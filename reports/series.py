"""What every chart is made of: named series of claims, and the chart in words."""

from collections.abc import Callable, Iterable

from advisor.records import Claim
from reports.blocks import Form, Point, Role, Series


def series_of(name: str, form: Form, role: Role, points: Iterable[tuple[float, Claim]]) -> Series:
    """The points as one series, each where it stands."""
    return Series(name=name, form=form, role=role, points=tuple(Point(x=x, claim=claim) for x, claim in points))


def alt_text(title: str, points: Iterable[tuple[float, Claim]], spell: Callable[[Claim], str]) -> str:
    """What the chart says, for those who cannot see it."""
    return f"{title}: " + "; ".join(f"{x:g}: {spell(claim)}" for x, claim in points)
