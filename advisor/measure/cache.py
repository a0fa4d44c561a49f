"""What was measured before, so that the same question on the same machine is answered at once.

A file a key, under ``CFGADVISE_CACHE`` or the platform's cache folder. The key holds everything that a measurement
is known to depend on; the file holds it too, and is only used if both agree. What cannot be read, or is older than a
week, does not count: it is measured anew. A cache that cannot be written is no error.
"""

import contextlib
import datetime
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import platformdirs

import advisor
from advisor import schema, storage
from advisor.errors import StorageError, UsageError
from advisor.measure.campaign import Place, Subject
from advisor.records import Device, Host
from advisor.workload.fingerprint import code_digest

MAX_AGE_S = 7 * 24 * 3600.0  # drivers' settings, cooling and other users change unseen
CACHE_SCHEMA = "cfgadvise.measured/1"
_SPEED_VARIABLES = ("OMP_", "MKL_", "OPENBLAS_", "KMP_", "CUDA_", "CUBLAS_", "CUDNN_", "NVIDIA_", "PYTORCH_", "TORCH_")
_OWN_WORKER = "advisor.measure.worker:main"

R = TypeVar("R")


def measurement_key(
    subject: Subject, place: Place, device: Device, host: Host, question: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Everything that the measurements depend on; ``None`` if the workload's code cannot be told.

    Args:
        subject: what is measured.
        place: where; its budget is left out, because free memory is never the same twice.
        device: the device of the probe.
        host: the machine of the probe.
        question: which settings are asked for.
    """
    code = code_digest(subject.spec)
    if code is None:
        return None
    return {
        "schema": CACHE_SCHEMA,
        "version": advisor.__version__,
        "own_code": code_digest(_OWN_WORKER),
        "code": code,
        "spec": subject.spec,
        "parameters": dict(subject.parameters),
        "device": [device.kind, device.name, device.uuid, device.total_bytes, device.power_limit_w],
        "torch_device": place.torch_device,
        "host": [host.os, host.cpu_name, host.num_cores, host.python_version, host.torch_version],
        "driver": [host.driver_version, host.torch_cuda_version],
        "environment": {
            name: value
            for name, value in sorted({**os.environ, **place.environment}.items())
            if name.startswith(_SPEED_VARIABLES)
        },
        "question": dict(question),
    }


def recall(key: Mapping[str, Any], record_type: type[R]) -> tuple[R, float] | None:
    """What was measured for the key and how many seconds ago; ``None`` if nothing that still counts."""
    path = _path(key)
    try:
        document = storage.require_json_object(path)
        then = datetime.datetime.fromisoformat(document["created_at_utc"])
        age_s = (datetime.datetime.now(datetime.timezone.utc) - then).total_seconds()
        if document["key"] != schema.to_plain(dict(key)) or not 0 <= age_s <= MAX_AGE_S:
            return None
        return schema.from_plain(record_type, document["measured"], where=str(path)), age_s
    except (OSError, UsageError, KeyError, TypeError, ValueError):
        return None


def remember(key: Mapping[str, Any], measured: Any) -> None:
    """Keep what was measured for the key, in place of what was kept before."""
    now = datetime.datetime.now(datetime.timezone.utc)
    document = {"key": dict(key), "created_at_utc": now.isoformat(), "measured": schema.to_plain(measured)}
    path = _path(key)
    with contextlib.suppress(OSError, StorageError, ValueError):
        path.parent.mkdir(parents=True, exist_ok=True)
        storage.write_atomically(path, schema.json_text(document) + "\n")


def _path(key: Mapping[str, Any]) -> Path:
    root = Path(os.environ.get("CFGADVISE_CACHE") or platformdirs.user_cache_dir("cfgadvise"))
    name = hashlib.sha256(schema.json_text(schema.to_plain(dict(key))).encode(errors="surrogatepass")).hexdigest()
    return root / "measured" / f"{name[:32]}.json"
