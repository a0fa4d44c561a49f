"""The installed torch, read without importing it."""

import importlib.metadata
import sys

import pytest

from advisor.hardware import torch_build
from advisor.hardware.torch_build import TorchBuild, read_kernels, read_torch_build

PIP_CUDA = "__version__ = '2.13.0+cu126'\ndebug = False\ncuda: Optional[str] = '12.6'\nhip: Optional[str] = None\n"
ROCM = "__version__ = '2.13.0+rocm6.4'\ncuda: Optional[str] = None\nhip: Optional[str] = '6.4.43482'\n"
OLD = "__version__ = '1.13.1'\ndebug = False\ncuda = '11.7'\nhip = None\n"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A torch whose ``version.py`` has this text, in front of any other."""

    def install(version_text: str | None, init: str = "raise SystemExit('imported')\n"):
        package = tmp_path / "torch"
        package.mkdir()
        (package / "__init__.py").write_text(init)
        if version_text is not None:
            (package / "version.py").write_text(version_text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.delitem(sys.modules, "torch", raising=False)

    return install


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PIP_CUDA, TorchBuild(version="2.13.0+cu126", cuda_version="12.6")),
        (ROCM, TorchBuild(version="2.13.0+rocm6.4", rocm_version="6.4.43482")),
        (OLD, TorchBuild(version="1.13.1", cuda_version="11.7")),
    ],
)
def test_what_version_py_states(installed, text, expected):
    installed(text)
    assert read_torch_build() == expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.13.0+cu126", TorchBuild(version="2.13.0+cu126", cuda_version="12.6")),
        ("2.13.0+cu130", TorchBuild(version="2.13.0+cu130", cuda_version="13.0")),
        ("2.13.0+cpu", TorchBuild(version="2.13.0+cpu")),
        ("2.13.0+rocm6.4", TorchBuild(version="2.13.0+rocm6.4", rocm_version="6.4")),
        ("2.13.0", TorchBuild(version="2.13.0")),
    ],
)
def test_else_the_packages_version_says_it(installed, monkeypatch, version, expected):
    installed(None)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    assert read_torch_build() == expected


def test_no_torch_is_no_build(monkeypatch):
    monkeypatch.setattr(torch_build.importlib.util, "find_spec", lambda name: None)
    assert read_torch_build() == TorchBuild()


LIBRARY = b"\x7fELF...\x00%s\x00\x00invalid argument to getCurrent\x00-arch sm_75 -m 64 \x08"


def test_kernels_are_read_from_the_library_without_importing_torch(installed, tmp_path):
    installed(PIP_CUDA)
    (tmp_path / "torch" / "lib").mkdir()
    library = tmp_path / "torch" / "lib" / "libtorch_python.so"
    library.write_bytes(LIBRARY % b"sm_75 sm_80 sm_90a compute_120")
    assert read_kernels().value == ("sm_75", "sm_80", "sm_90a", "compute_120")


@pytest.mark.parametrize("content", [b"", b"no list", LIBRARY % b"sm_75" + LIBRARY % b"sm_80"])
def test_a_library_without_exactly_one_list_is_not_believed(installed, tmp_path, content):
    installed(PIP_CUDA, "class _C:\n    def _cuda_getArchFlags():\n        return 'sm_50'\n")
    (tmp_path / "torch" / "lib").mkdir()
    (tmp_path / "torch" / "lib" / "libtorch_python.so").write_bytes(content)
    assert read_kernels().value == ("sm_50",)


def test_kernels_come_from_a_child_that_sees_no_card(installed):
    installed(
        PIP_CUDA,
        "import os\nclass _C:\n"
        "    def _cuda_getArchFlags():\n"
        "        return 'sm_50 sm_90a compute_90 ' + os.environ['CUDA_VISIBLE_DEVICES']\n",
    )
    assert read_kernels().value == ("sm_50", "sm_90a", "compute_90")


def test_a_torch_that_cannot_be_imported_is_a_reason(installed):
    installed(PIP_CUDA, "raise ImportError('libcudart.so.12: cannot open shared object file')\n")
    assert read_kernels().reason == "torch_failed"


def test_the_installed_torch_agrees_with_itself():
    import torch

    found = read_torch_build()
    assert (found.version, found.cuda_version) == (torch.__version__, torch.version.cuda)
