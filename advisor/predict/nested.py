"""What operations take and return: values in lists, tuples and dictionaries.

PyTorch's own ``_pytree`` knows more kinds of containers, and takes three to six times as long for these.
"""

from collections.abc import Callable
from typing import Any


def leaves(values: Any) -> list[Any]:
    """Every value inside, in order."""
    found: list[Any] = []
    _collect(values, found)
    return found


def _collect(values: Any, found: list[Any]) -> None:
    if isinstance(values, dict):
        values = list(values.values())
    if not isinstance(values, (list, tuple)):
        found.append(values)
        return
    for value in values:
        if isinstance(value, (list, tuple, dict)):
            _collect(value, found)
        else:  # most: a call for each would take as long as all the rest
            found.append(value)


def mapped(change: Callable[[Any], Any], values: Any) -> Any:
    """The same containers, with every value inside changed."""
    if isinstance(values, dict):
        return {name: mapped(change, value) for name, value in values.items()}
    if isinstance(values, list):
        return [mapped(change, value) for value in values]
    if isinstance(values, tuple):
        return tuple([mapped(change, value) for value in values])
    return change(values)
