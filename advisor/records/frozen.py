"""The form of every record."""

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        """Says to type checkers that a decorator makes dataclasses; in Python itself from 3.11 on."""
        return lambda decorator: decorator


C = TypeVar("C", bound=type)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: C) -> C:
    """Make a class a frozen, slotted, keyword-only dataclass: a document, not an object with a life."""
    return cast("C", dataclasses.dataclass(frozen=True, slots=True, kw_only=True)(cls))
