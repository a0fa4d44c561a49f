"""A check at every start that ``advisor``, ``trainer`` and ``reports`` are the ones of this program.

The three import names are short and others use them too: installing such a package into the same
environment silently overwrites files here, and what follows would be an error that nobody understands.
"""

import importlib.util
import re
from importlib.metadata import Distribution, distributions
from pathlib import Path

from advisor.errors import UsageError

OUR_NAMES = ("advisor", "trainer", "reports")
OUR_DISTRIBUTION = "cfgadvise"

_OWNS = re.compile(rf"^({'|'.join(OUR_NAMES)})(/|\.py,)", re.MULTILINE)


def require_own_packages() -> None:
    """Check that nothing else owns, or stands before, one of the three import names.

    Raises:
        UsageError: naming the other distribution or file, and what to do.
    """
    advice = "install cfgadvise into an environment of its own (pipx install, uv tool install or python -m venv)"
    for distribution in distributions():
        owned = _names_owned(distribution)
        if owned and (name := distribution.metadata["Name"]) != OUR_DISTRIBUTION:
            raise UsageError(f"the installed package {name!r} also owns the import name {min(owned)!r}; {advice}")
    home = Path(__file__).resolve().parents[2]
    for taken in OUR_NAMES:
        found = importlib.util.find_spec(taken)
        if found is not None and found.origin is not None and home not in Path(found.origin).resolve().parents:
            raise UsageError(f"{found.origin} hides the package {taken!r} of cfgadvise; rename it, or {advice}")


def _names_owned(distribution: Distribution) -> set[str]:
    """Which of our names a distribution installs: by its own word, else by its list of files.

    An editable install lists only a ``.pth`` file, but says its names in ``top_level.txt``. This reads
    two texts a distribution; ``importlib.metadata.packages_distributions`` parses every file's entry.
    """
    declared = distribution.read_text("top_level.txt")
    if declared is not None:
        return set(declared.split()) & set(OUR_NAMES)
    return {match.group(1) for match in _OWNS.finditer(distribution.read_text("RECORD") or "")}
