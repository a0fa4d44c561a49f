"""What ``recommend`` is asked about: a user's own step, a preset of the trainer, or a folder's training."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.errors import UsageError

if TYPE_CHECKING:
    from advisor.recommend.duration import Planned
    from advisor.records import Claim, Dataset

DEFAULT_PRESET = "gait48"
_DEFAULT_BATCH = 16
_TRAINER_WORKLOAD = "trainer.workload:make"


def count_dataset(dataset_size: int | None, data: Path | None) -> "Dataset":
    """How much there is to train on, given or counted."""
    from advisor.records import Dataset

    if (dataset_size is None) == (data is None):
        raise UsageError("give either --dataset-size N or --data DIR: how much there is to train on")
    if dataset_size is None:
        from trainer.config import HELD_OUT_FRAC
        from trainer.plan import survey

        return survey(str(data)).training_set(HELD_OUT_FRAC)
    if dataset_size < 1:
        raise UsageError(f"--dataset-size must be at least 1, found {dataset_size}")
    return Dataset(num_items=dataset_size, source="--dataset-size")


def own_arguments(workload: str, given: dict[str, Any], dataset: "Dataset") -> dict[str, Any]:
    """The user's own step. What is not given is read from its optimizer."""
    from advisor.workload.load import split_spec

    split_spec(workload)
    return {
        "workload": workload,
        "batch_size": given["micro_batch"] or _DEFAULT_BATCH,
        "accumulation": given["accumulation"],
        "lr": given["lr"],
        "dataset": dataset,
    }


def preset_arguments(name: str, precision: str, given: dict[str, Any], dataset: "Dataset") -> dict[str, Any]:
    """The trainer's step at a preset's own shapes, trained as the preset says."""
    from advisor.records import Claim
    from trainer.config import MEMORY_SAVERS
    from trainer.presets import preset_named, reference_lr

    preset = preset_named(name)
    micro_batch = given["micro_batch"] or preset.reference_batch
    by_preset = Claim(
        value=reference_lr(preset, micro_batch * given["accumulation"]),
        basis="rule",
        source=f"preset {name}: {preset.reference_lr:g} at batch {preset.reference_batch}, square-root rule from there",
    )
    return {
        "workload": _TRAINER_WORKLOAD,
        "workload_name": name,
        "parameters": {"preset": name, "precision": precision},
        "savers": MEMORY_SAVERS,
        "batch_size": micro_batch,
        "accumulation": given["accumulation"],
        "lr": by_preset if given["lr"] is None else given["lr"],
        "dataset": dataset,
    }


def data_arguments(
    data: Path, device: str, gpu: str | None, given: dict[str, Any], *, decode_all: bool = False
) -> dict[str, Any]:
    """What ``cfgadvise train`` would train on this folder, at its shapes and with its classes.

    On a device that is here it trains on the pictures themselves, if decoding them is quick or ``decode_all``.
    """
    from advisor.hardware.probe import choose_device, probe
    from advisor.schema import to_plain
    from trainer.config import MEMORY_SAVERS
    from trainer.kept_pictures import AFFORDABLE_S, KeptPictures, keep_pictures
    from trainer.plan import plan_config, present_setting, survey, workload_parameters

    known = {key: value for key, value in given.items() if value is not None}
    source = survey(str(data))
    chosen = choose_device(probe(), device) if gpu is None else device
    config, _ = plan_config(source, "cuda" if isinstance(chosen, str) else chosen.kind, known)
    values = to_plain(config)
    affordable_s = math.inf if decode_all else AFFORDABLE_S
    pictures = KeptPictures() if gpu is not None else keep_pictures(config, affordable_s=affordable_s)
    return {
        "workload": _TRAINER_WORKLOAD,
        "workload_name": values["preset"],
        "parameters": workload_parameters(source, values) | pictures.parameters,
        "made_up_because": pictures.made_up_because,
        "savers": MEMORY_SAVERS,
        "present": present_setting(values, known),
        "dataset": source.training_set(config.held_out_frac),
        "device": chosen,
    }


def run_samples(
    samples: int | None, steps: int | None, epochs: float | None, arguments: dict[str, Any]
) -> "Claim | None":
    """The length of the run in samples, from whichever way it was given."""
    from advisor.records import Claim

    given = {"--samples": samples, "--steps": steps, "--epochs": epochs}
    named = [option for option, value in given.items() if value is not None]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} exclude each other: give one length of the run")
    if not named:
        return None
    value = given[named[0]] or 0
    if not 0 < value < float("inf"):
        raise UsageError(f"{named[0]} must be a positive number, found {value}")
    num_items = arguments["dataset"].num_items
    factor = {"--samples": 1, "--steps": _effective_batch(arguments), "--epochs": num_items}[named[0]]
    return Claim(value=max(1, round(value * factor)), basis="user", source=f"{named[0]} {value:g}")


def planned_occasions(arguments: dict[str, Any]) -> "tuple[Planned, ...]":
    """What ``cfgadvise train`` would do beside its steps; of a run of the user's own nothing is known."""
    from advisor.recommend.dataset import default_run_samples
    from trainer.config import HELD_OUT_FRAC
    from trainer.presets import preset_named
    from trainer.timetable import timetable

    if arguments["workload"] != _TRAINER_WORKLOAD:
        return ()
    dataset = arguments["dataset"]
    samples = arguments["run_samples"] or default_run_samples(dataset.num_items)
    num_classes = dataset.num_classes or preset_named(arguments["workload_name"]).default_num_classes
    num_held_out = round(dataset.num_items * HELD_OUT_FRAC / (1 - HELD_OUT_FRAC))
    return timetable(round(samples.value or 0), _effective_batch(arguments), num_classes, num_held_out)


def _effective_batch(arguments: dict[str, Any]) -> int:
    present = arguments.get("present")
    batch: int = present.effective_batch if present else arguments["batch_size"] * arguments["accumulation"]
    return batch
