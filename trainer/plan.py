"""From a folder of pictures to a configuration: what to train when nobody has said how.

Each value gets a sentence that says where it comes from; they become the comments of
``config.toml``. Loads no torch.
"""

import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from advisor.recommend.scaling import untuned_warmup
from advisor.records import Advice, Claim, Dataset, Setting, Value, record
from trainer.config import BUNDLED_DIGITS, NO_VAE, TrainConfig, config_from
from trainer.data import find_pictures, num_held_out, picture_size
from trainer.presets import Preset, preset_named, reference_lr

_DIGIT_SIDE = 8
_DIGIT_CLASS_SIZES = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)
_DIGITS_SAMPLES = 40_000
# Toy runs on 100 to 1,350 pictures had their best validation loss at 240 to 290 epochs; see
# docs/methods.md. Longer is the user's choice, since the onset depends on the network.
_DEFAULT_EPOCHS = 250
_USUAL_VAE = (8, 4)  # downscale and latent channels of the usual KL-VAE, until it can be asked
_BETA1 = 0.9
_USUAL_LOSS = {"label_dropout": 0.1, "min_snr_gamma": 5.0}  # what ``trainer.workload:make`` takes without being told


@record
class Source:
    """What there is to train on, as far as file names and headers tell."""

    source: str
    class_sizes: tuple[int, ...]
    side_pixels: int
    channels: int

    @property
    def num_items(self) -> int:
        """All pictures, those to be held out among them."""
        return sum(self.class_sizes)

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_sizes)

    def num_held_out(self, held_out_frac: float) -> int:
        """Pictures that are never trained on."""
        return sum(num_held_out(size, held_out_frac) for size in self.class_sizes)

    def training_set(self, held_out_frac: float) -> Dataset:
        """What an epoch goes through, for the advisor: held-out pictures are not part of it."""
        held_out = self.num_held_out(held_out_frac)
        num_train = self.num_items - held_out
        where = "the digits that scikit-learn ships" if self.source == BUNDLED_DIGITS else self.source
        return Dataset(
            num_items=num_train,
            num_classes=self.num_classes,
            source=f"{where}: {num_train} pictures to train on, {held_out} held out",
        )


def survey(source: str) -> Source:
    """Count the pictures of a source without decoding them.

    Raises:
        DataError: if the folder is not a folder of class folders with pictures.
    """
    if source == BUNDLED_DIGITS:
        return Source(source=source, class_sizes=_DIGIT_CLASS_SIZES, side_pixels=_DIGIT_SIDE, channels=1)
    files = find_pictures(Path(source))
    return Source(
        source=str(Path(source)),
        class_sizes=tuple(files.labels.count(label) for label in range(len(files.classes))),
        side_pixels=picture_size(files),
        channels=3,
    )


def plan_values(source: Source, device_kind: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Values for every key of a configuration, and why each has its value.

    Args:
        source: what is trained on.
        device_kind: ``cpu``, ``cuda`` or another.
        given: values that the user decided; they stay as they are.
    """
    vae = given.get("vae", NO_VAE)
    preset_name = given.get("preset") or _default_preset(source, device_kind, vae)
    preset = preset_named(preset_name)
    batch = int(given.get("micro_batch", preset.reference_batch)) * int(given.get("accumulation", 1))
    samples = given.get("samples") or _default_samples(source)
    values: dict[str, Any] = {
        "source": source.source,
        "image_size": _default_size(source, device_kind, vae, preset),
        "vae": vae,
        "preset": preset_name,
        "micro_batch": preset.reference_batch,
        "accumulation": 1,
        "lr": reference_lr(preset, batch) if batch > 0 else preset.reference_lr,
        "beta1": _BETA1,
        "beta2": preset.beta2,
        **_sample_counts(samples, preset.beta2, batch),
    }
    why = _reasons(source, preset_name, preset)
    why.update({key: "given by the user" for key in given})
    return values | dict(given), {key: text for key, text in why.items() if text}


def _sample_counts(samples: Any, beta2: float, batch: int) -> dict[str, Any]:
    """Everything that follows from the length of the run; a bad length is reported by the checks."""
    length = samples if type(samples) is int and samples >= 1 else 1
    return {
        "samples": samples,
        "warmup_samples": default_warmup(length, beta2, max(1, batch)),
        "ema_half_lives_samples": [max(1, length // 20), max(1, length // 10)],
        "checkpoint_every_samples": max(1, length // 20),
        "validate_every_samples": max(1, length // 20),
    }


def default_warmup(samples: int, beta2: float, batch: int) -> int:
    """Warm-up in whole samples by the advisor's rule; 0 for a beta2 that the checks will refuse."""
    return int(untuned_warmup(batch, beta2, samples)) if beta2 < 1 else 0


def _default_preset(source: Source, device_kind: str, vae: str) -> str:
    if source.source == BUNDLED_DIGITS or device_kind == "cpu":
        return "tiny"
    return "gait48" if vae != NO_VAE else "base"


def latent_layout(vae: str) -> tuple[int, int]:
    """Downscale and channels of a VAE: from a local folder's configuration, else what is usual."""
    try:
        config = json.loads((Path(vae) / "config.json").read_text(encoding="utf-8"))
        blocks = config.get("block_out_channels") or config["encoder_block_out_channels"]
        return 2 ** (len(blocks) - 1), int(config["latent_channels"])
    except (OSError, ValueError, KeyError, TypeError):
        return _USUAL_VAE  # a hub id, or a folder that loading will refuse with its reason


def _default_size(source: Source, device_kind: str, vae: str, preset: Preset) -> int:
    if source.source == BUNDLED_DIGITS and vae == NO_VAE:
        return _DIGIT_SIDE
    cap = 256 if vae != NO_VAE else 32 if device_kind == "cpu" else 64
    multiple = preset.size_multiple * (latent_layout(vae)[0] if vae != NO_VAE else 1)
    return max(multiple, min(cap, source.side_pixels) // multiple * multiple)


def _default_samples(source: Source) -> int:
    return _DIGITS_SAMPLES if source.source == BUNDLED_DIGITS else _DEFAULT_EPOCHS * source.num_items


def _reasons(source: Source, preset_name: str, preset: Preset) -> dict[str, str]:
    epochs = "about 25 epochs: minutes on two cores" if source.source == BUNDLED_DIGITS else f"{_DEFAULT_EPOCHS} epochs"
    return {
        "image_size": f"pixels; the pictures have about {source.side_pixels}",
        "vae": "pixels are trained on directly" if source.side_pixels <= 64 else "a VAE would train larger pictures",
        "held_out_frac": "never trained on: validation, and the classifier's test",
        "preset": preset.summary,
        "min_snr_gamma": "Hang et al., arXiv 2303.09556",
        "label_dropout": "Ho & Salimans, arXiv 2207.12598: 0.1 to 0.2 do equally well",
        "micro_batch": f"reference of the preset {preset_name}",
        "lr": f"preset: {preset.reference_lr:g} at batch {preset.reference_batch}, square-root rule from there",
        "warmup_samples": "2 / (1 - beta2) steps, at most 5 % of the run (Ma & Yarats, arXiv 1910.04209)",
        "ema_half_lives_samples": "5 % and 10 % of the run; the better one by validation loss is exported",
        "samples": epochs,
        "checkpoint_every_samples": "20 in a run; a crash loses at most this many samples",
        "guidance": "for sample grids; 1 is the model itself",
    }


def present_setting(values: Mapping[str, Any], given: Collection[str] = ()) -> Setting:
    """The configuration as the setting that the advisor compares with.

    The EMA's half-life in samples becomes a decay per step at the present batch.

    Args:
        values: of the configuration.
        given: names of the values that the user decided; the others are the preset's.
    """
    micro_batch, accumulation = int(values["micro_batch"]), int(values["accumulation"])
    half_life = values["ema_half_lives_samples"][0]

    def claim(name: str, value: float) -> Claim:
        if name in given:
            return Claim(value=value, basis="user", source="given")
        return Claim(value=value, basis="rule", source=f"preset {values['preset']}")

    return Setting(
        micro_batch=micro_batch,
        accumulation=accumulation,
        lr=claim("lr", values["lr"]),
        beta1=claim("beta1", values["beta1"]),
        beta2=claim("beta2", values["beta2"]),
        ema_decay=claim("ema_half_lives_samples", 0.5 ** (micro_batch * accumulation / half_life)),
        warmup_samples=claim("warmup_samples", values["warmup_samples"]),
    )


def workload_parameters(source: Source | None, values: Mapping[str, Any]) -> dict[str, Value]:
    """Parameters of ``trainer.workload:make`` for a configuration, or a preset's own without data."""
    preset = preset_named(values["preset"])
    if source is None:
        channels, height, width = preset.default_shape
        num_classes = preset.default_num_classes
    else:
        downscale, channels = latent_layout(values["vae"]) if values["vae"] != NO_VAE else (1, source.channels)
        height = width = values["image_size"] // downscale
        num_classes = source.num_classes
    return {
        "preset": values["preset"],
        "channels": channels,
        "height": height,
        "width": width,
        "num_classes": num_classes,
        "precision": values.get("precision", "fp32"),
        **{name: True for name in ("gradient_checkpointing", "compile") if values.get(name)},
        **{name: values[name] for name, usual in _USUAL_LOSS.items() if values.get(name, usual) != usual},
    }


def apply_advice(
    values: Mapping[str, Any], why: Mapping[str, str], advice: Advice, given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The values with what the advice recommends, except where the user has decided."""
    option = advice.recommended
    advised: dict[str, tuple[Any, str]] = {
        "micro_batch": (option.micro_batch, _why_batch(advice)),
        "accumulation": (option.accumulation, f"effective batch {option.effective_batch}"),
        "lr": (option.lr.value, f"{option.lr.basis}: {option.lr.source}"),
        "beta1": (option.betas[0].value, f"{option.betas[0].basis}: {option.betas[0].source}"),
        "beta2": (option.betas[1].value, f"{option.betas[1].basis}: {option.betas[1].source}"),
    }
    if advice.sessions is not None:
        advised["checkpoint_every_samples"] = (advice.sessions.checkpoint_every_samples, "2 % of a session")
    taken = {key: pair for key, pair in advised.items() if key not in given and pair[0] is not None}
    return (
        dict(values) | {key: value for key, (value, _) in taken.items()},
        dict(why) | {key: text for key, (_, text) in taken.items()},
    )


def _why_batch(advice: Advice) -> str:
    option = advice.recommended
    speed = option.samples_per_s.value
    shown = f", {speed:.0f} samples/s" if speed is not None and math.isfinite(speed) else ""
    return f"{option.samples_per_s.basis} on {advice.device.name}{shown}"


def plan_config(
    source: Source, device_kind: str, given: Mapping[str, Any], advice: Advice | None = None
) -> tuple[TrainConfig, dict[str, str]]:
    """A checked configuration and the reasons for its values.

    Raises:
        UsageError: with everything that is wrong with the given values.
    """
    values, why = plan_values(source, device_kind, given)
    if advice is not None:
        values, why = apply_advice(values, why, advice, given)
    return config_from(values, where="configuration"), why
