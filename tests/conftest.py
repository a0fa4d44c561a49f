"""Every test gets an empty folder as cwd and HOME, fixed seeds, English, and no network."""

import importlib.metadata
import os
import random
import socket
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_REPORTED = ("torch", "diffusers", "optuna", "numpy", "scikit-learn", "safetensors", "typer", "rich")
_FOREIGN = ("CFGADVISE_LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
_FOREIGN += ("PYTHONUNBUFFERED", "PYTHONIOENCODING", "PYTHONUTF8", "TYPER_USE_RICH")

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when the hub's package is imported
# Nets in tests are too small to gain from threads, and threads that wait for each other make a busy machine crawl.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_report_header() -> str:
    def version(name: str) -> str:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return "missing"

    return "versions: " + ", ".join(f"{name} {version(name)}" for name in _REPORTED)


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_world(tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty HOME and cwd. Child processes find the packages, and share one font cache."""
    home, cwd = tmp_path / "home", tmp_path / "cwd"
    home.mkdir()
    cwd.mkdir()
    monkeypatch.chdir(cwd)
    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(home))
    for name in _FOREIGN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("MPLCONFIGDIR", str(shared_cache))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    real_connect = socket.socket.connect

    def connect(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "localhost"
        if self.family in (socket.AF_INET, socket.AF_INET6) and host not in ("127.0.0.1", "::1", "localhost"):
            raise RuntimeError(f"a test tried to reach {address}: tests use no network")
        real_connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
