"""Fixtures of the unit tests."""

import fake_nvml
import pytest


@pytest.fixture
def nvml_scenario(monkeypatch):
    """Puts the scripted library of a scenario under the real NVML binding."""
    pynvml = pytest.importorskip("pynvml")

    def use(name: str) -> fake_nvml.FakeNvml:
        fake = fake_nvml.FakeNvml(fake_nvml.read_scenario(name))
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        monkeypatch.setattr(pynvml, "nvmlLib", fake)
        return fake

    return use
