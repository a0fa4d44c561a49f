"""Everything of a run that changes, as flat tensors and JSON: no pickle, nothing hidden."""

import json
from collections.abc import Mapping
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from advisor.errors import CheckpointError, NonFiniteError
from trainer.config import Precision
from trainer.ema import Ema
from trainer.model import Denoiser

STATE_SCHEMA = "cfgadvise.state/1"
_SCALE_KEYS = ("scale", "_growth_tracker")
_TENSORS, _JSON = "state.safetensors", "state.json"


class TrainState:
    """Model, weight averages, optimizer, loss scale, and how many samples they have seen.

    ``scaler`` does nothing unless the precision is fp16. ``skipped_steps`` counts the optimizer steps
    that it left out because a gradient had overflowed.
    """

    def __init__(
        self, model: Denoiser, ema: Ema, optimizer: torch.optim.Optimizer, precision: Precision = "fp32"
    ) -> None:
        self.model, self.ema, self.optimizer = model, ema, optimizer
        device = next(model.parameters()).device
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.samples_seen = 0
        self.skipped_steps = 0
        self.elapsed_s = 0.0

    def to_files(self, identity: Mapping[str, Any]) -> dict[str, bytes]:
        """The contents of a checkpoint folder.

        Args:
            identity: what the state belongs to (configuration, data), kept beside it.

        Raises:
            NonFiniteError: if any tensor holds NaN or infinity.
        """
        tensors = self._named_tensors()
        bad = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
        if bad:
            raise NonFiniteError(f"{len(bad)} tensors are not finite, {bad[0]} among them; no checkpoint was written")
        document = {
            "schema": STATE_SCHEMA,
            "samples_seen": self.samples_seen,
            "elapsed_s": self.elapsed_s,
            "skipped_steps": self.skipped_steps,
            "loss_scale": self._loss_scale(),
            "torch_version": torch.__version__,
            **identity,
        }
        on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        return {_TENSORS: safetensors.torch.save(on_cpu), _JSON: json.dumps(document, indent=1).encode()}

    def load_files(self, files: Mapping[str, bytes], where: str) -> None:
        """Take over the state of a checkpoint folder.

        Raises:
            CheckpointError: if it is of another schema, of another network, or not finite.
        """
        document = read_identity(files, where)
        try:
            stored = safetensors.torch.load(files[_TENSORS])
        except (KeyError, safetensors.SafetensorError) as error:
            raise CheckpointError(f"{where}: {_TENSORS} cannot be read ({error})") from None
        if not all(bool(tensor.isfinite().all()) for tensor in stored.values()):
            raise CheckpointError(f"{where}: holds values that are not finite")
        self._make_optimizer_state()
        tensors = self._named_tensors()
        if tensors.keys() != stored.keys() or any(tensors[k].shape != stored[k].shape for k in tensors):
            raise CheckpointError(f"{where}: was written by a run with another network")
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(stored[name])
        self.samples_seen = int(document["samples_seen"])
        self.elapsed_s = float(document["elapsed_s"])
        self.skipped_steps = int(document.get("skipped_steps", 0))  # absent before there was fp16
        self._restore_loss_scale(document.get("loss_scale"), where)

    def _loss_scale(self) -> dict[str, float | int] | None:
        """What of the scaler changes; its other values are constants of PyTorch."""
        state = self.scaler.state_dict()
        return {name: state[name] for name in _SCALE_KEYS} if state else None

    def _restore_loss_scale(self, stored: Mapping[str, float | int] | None, where: str) -> None:
        state = self.scaler.state_dict()
        if not state:
            return
        if stored is None or any(name not in stored for name in _SCALE_KEYS):
            raise CheckpointError(f"{where}: holds no loss scale, which precision fp16 needs")
        self.scaler.load_state_dict(state | {name: stored[name] for name in _SCALE_KEYS})

    def _named_tensors(self) -> dict[str, Tensor]:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"ema.{name}": tensor for name, tensor in self.ema.named_tensors().items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{key}.{name}"] = value
        return tensors

    def _make_optimizer_state(self) -> None:
        """Let the optimizer create its tensors, without moving a weight."""
        if self.optimizer.state:
            return
        settings = [(group["lr"], group["weight_decay"]) for group in self.optimizer.param_groups]
        for group in self.optimizer.param_groups:
            group["lr"], group["weight_decay"] = 0.0, 0.0
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        for group, (lr, weight_decay) in zip(self.optimizer.param_groups, settings, strict=True):
            group["lr"], group["weight_decay"] = lr, weight_decay


def read_identity(files: Mapping[str, bytes], where: str) -> dict[str, Any]:
    """The JSON part of a checkpoint.

    Raises:
        CheckpointError: if it is missing or of a schema that this version does not know.
    """
    try:
        document: dict[str, Any] = json.loads(files[_JSON])
        known = document["schema"] == STATE_SCHEMA
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{where}: {_JSON} cannot be read ({error})") from None
    if not known:
        raise CheckpointError(f"{where}: schema {document['schema']!r}, this version reads {STATE_SCHEMA!r}")
    return document
