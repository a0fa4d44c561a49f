"""Which errors and exits count as out of memory, and which must not."""

import signal

import pytest

from advisor.workload.oom import classify_error, classify_exit, is_nearly_full


@pytest.mark.parametrize(
    ("type_name", "text", "kind"),
    [
        ("torch.OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB.", "oom"),
        ("OutOfMemoryError", "thrown by hand, any text", "oom"),
        ("MemoryError", "", "oom"),
        ("torch.AcceleratorError", "CUDA error: out of memory\nCUDA kernel errors might be", "oom"),
        ("RuntimeError", "HIP out of memory. Tried to allocate 20 MiB", "oom"),
        ("RuntimeError", "NCCL error: Cuda failure 'out of memory'", "oom"),
        ("RuntimeError", "Triton Error [CUDA]: out of memory", "oom"),
        ("RuntimeError", "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to", "oom"),
        ("RuntimeError", "DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes", "oom"),
        ("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "oom_suspect"),
        ("RuntimeError", "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling", "oom_suspect"),
        ("RuntimeError", "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if", "oom_suspect"),
        ("RuntimeError", "GET was unable to find an engine to execute this computation", "oom_suspect"),
        ("RuntimeError", "NVML_SUCCESS == r INTERNAL ASSERT FAILED", "oom_suspect"),
        ("RuntimeError", "CUDA error: invalid configuration argument", "size_limit"),
        ("RuntimeError", "Expected canUse32BitIndexMath(input) to be true", "size_limit"),
        ("RuntimeError", "mat1 and mat2 shapes cannot be multiplied", "other"),
        ("ValueError", "ran out of memory cards to shuffle", "other"),
        ("ValueError", "Expected more than 1 value per channel when training", "other"),
    ],
)  # fmt: skip
def test_errors_of_the_wild(type_name: str, text: str, kind: str) -> None:
    assert classify_error(type_name, text) == kind


def test_real_torch_errors() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert classify_error(type(caught.value).__name__, str(caught.value)) == "oom"
    assert classify_error(torch.OutOfMemoryError.__name__, "") == "oom"


@pytest.mark.parametrize("status", [-9, 137])
def test_a_kill_by_the_system_is_out_of_ram(status: int) -> None:
    assert classify_exit(status)[0] == "oom"


@pytest.mark.parametrize(("status", "name"), [(-6, "SIGABRT"), (134, "SIGABRT"), (-11, "SIGSEGV")])
def test_a_crash_is_an_error_with_its_signal(status: int, name: str) -> None:
    outcome, message = classify_exit(status)
    assert outcome == "error"
    assert name in message
    assert getattr(signal, name)


def test_an_abort_whose_last_words_are_out_of_memory_is_out_of_memory() -> None:
    assert classify_exit(-6, "terminate called after c10::Error: CUDA error: out of memory")[0] == "oom"


@pytest.mark.parametrize("status", [0, 1, 3])
def test_a_child_that_leaves_by_itself_is_an_error(status: int) -> None:
    assert classify_exit(status) == ("error", f"the process ended by itself with status {status}")


def test_nearly_full_is_under_a_twentieth() -> None:
    assert is_nearly_full(4, 100)
    assert not is_nearly_full(5, 100)
