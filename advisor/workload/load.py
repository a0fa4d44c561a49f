"""Finds the function that makes a workload, from ``path/to/file.py:function`` or ``package.module:function``."""

import contextlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from advisor.errors import UsageError, WorkloadError
from advisor.imports import quick_imports
from advisor.schema import nearest_name
from advisor.workload.protocol import Workload

Factory = Callable[..., Workload]


def load_factory(spec: str) -> Factory:
    """The function that the spec names; importing its file may run the user's own code.

    Raises:
        UsageError: if there is no such file, module or function; says which there are.
        WorkloadError: if the user's file itself raises.
    """
    place, function_name = split_spec(spec)
    with quick_imports():
        module = _load_file(Path(place)) if is_file_spec(spec) else _load_module(place)
    factory = getattr(module, function_name, None)
    if callable(factory):
        return factory  # type: ignore[no-any-return]
    own = [name for name, value in vars(module).items() if _is_own_function(value, module)]
    listed = f"it defines {', '.join(sorted(own))}" if own else "it defines no function"
    raise UsageError(f"{place} has no function {function_name!r}{nearest_name(function_name, own)}; {listed}")


def import_early(spec: str) -> None:
    """Import what the spec names if that can be done twice. What goes wrong is said when it is needed."""
    if not is_file_spec(spec):
        with contextlib.suppress(UsageError, WorkloadError):
            load_factory(spec)


def split_spec(spec: str) -> tuple[str, str]:
    """The file or module, and the name of the function in it.

    Raises:
        UsageError: if the spec has no function name.
    """
    place, separator, function_name = spec.rpartition(":")
    if not separator or not place or not function_name.isidentifier():
        raise UsageError(f"{spec!r} does not name a function; write it like my_step.py:make or package.module:make")
    return place, function_name


def is_file_spec(spec: str) -> bool:
    """Whether the spec names a file rather than an importable module."""
    place, _ = split_spec(spec)
    return place.endswith(".py") or "/" in place or os.sep in place


def workload_error(error: BaseException, doing: str) -> WorkloadError:
    """The user's exception as ours, with the traceback from the user's first frame on."""
    frames = error.__traceback__
    while frames is not None and _is_ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    text = "".join(traceback.format_exception(type(error), error, frames))
    return WorkloadError(f"{doing} raised {type(error).__name__}: {error}", text)


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        beside = sorted(p.name for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
        raise UsageError(f"no such file: {path}{nearest_name(path.name, beside)}")
    name = f"cfgadvise_workload_{path.stem}"
    module_spec = importlib.util.spec_from_file_location(name, path.resolve())
    if module_spec is None or module_spec.loader is None:
        raise UsageError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module  # dataclasses look their module up here
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # the file may import its neighbours, also later, inside functions
    try:
        module_spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # anything may happen in the user's file
        raise workload_error(error, f"importing {path}") from error
    return module


def _load_module(name: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # a console script does not look there, `python -m` does
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(f"no module {error.name!r}; for a file write path/to/file.py:function") from None
        raise workload_error(error, f"importing {name}") from error
    except (Exception, SystemExit) as error:  # anything may happen in the user's module
        raise workload_error(error, f"importing {name}") from error


def _is_own_function(value: object, module: ModuleType) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module.__name__


def _is_ours(filename: str) -> bool:
    advisor_folder = str(Path(__file__).resolve().parent.parent)
    return filename.startswith((advisor_folder, "<frozen importlib")) or f"importlib{os.sep}__init__" in filename
