"""What should I run? Measures a training step and says which batch, learning rate and length.

``from advisor import Workload, advise``; nothing heavy is imported until a name is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from advisor.recommend.planner import advise
    from advisor.records import Advice
    from advisor.workload.protocol import Workload

__all__ = ["Advice", "Workload", "advise"]
__version__ = "0.1.0"

_HOMES = {"Advice": "advisor.records", "Workload": "advisor.workload.protocol", "advise": "advisor.recommend.planner"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'advisor' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
