"""Lines to paste: each kind is parsed as what it claims to be, and holds the recommended values."""

import ast
import dataclasses
import sys
import types

import pytest
import tomlkit
from sample_advice import RECOMMENDED, claim, sample_advice

from advisor.recommend.emit import EMITTERS
from advisor.records import Advice

ADVICE = sample_advice()


class Recorded:
    def __init__(self, **options: object) -> None:
        self.options = options


def run(text: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    for name, attribute in (("accelerate", "Accelerator"), ("lightning.pytorch", "Trainer")):
        module = types.ModuleType(name)
        setattr(module, attribute, Recorded)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "lightning", types.ModuleType("lightning"))
    names: dict[str, object] = {}
    exec(compile(ast.parse(text), "emitted", "exec"), names)
    return names


@pytest.mark.parametrize("kind", ["python", "accelerate", "lightning"])
def test_python_runs_and_holds_the_recommended_values(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = run(EMITTERS[kind](ADVICE), monkeypatch)
    assert names["train_batch_size"] == 16
    assert names["train_lr"] == 1e-4
    assert names["adam_betas"] == (0.9, 0.99)
    assert names["ema_decay"] == 0.9995
    assert names["warmup_steps"] == 500


def test_each_library_is_told_the_accumulation_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    option = dataclasses.replace(RECOMMENDED, micro_batch=8, accumulation=3, effective_batch=24)
    advice = sample_advice(recommended=option)
    assert run(EMITTERS["python"](advice), monkeypatch)["gradient_accumulate_every"] == 3
    accelerator = run(EMITTERS["accelerate"](advice), monkeypatch)["accelerator"]
    assert accelerator.options == {"gradient_accumulation_steps": 3}
    trainer = run(EMITTERS["lightning"](advice), monkeypatch)["trainer"]
    assert trainer.options == {"accumulate_grad_batches": 3, "max_steps": 100_000}


@pytest.mark.parametrize("kind", list(EMITTERS))
def test_what_is_unknown_is_left_out_and_every_line_says_its_basis(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = claim(None, basis="user")
    option = dataclasses.replace(
        RECOMMENDED, lr=unknown, betas=(unknown, unknown), ema_decay=unknown, warmup_samples=unknown
    )
    text = EMITTERS[kind](sample_advice(recommended=option))
    assert "None" not in text
    assert "lr" not in text
    if kind != "toml":
        names = run(text, monkeypatch)
        assert "adam_betas" not in names
        lines = [line for line in text.splitlines() if line and "import" not in line]
        assert all("  # " in line for line in lines)


def test_toml_is_toml() -> None:
    values = tomlkit.parse(EMITTERS["toml"](ADVICE)).unwrap()
    assert values["batch"] == {"micro_batch": 16, "accumulation": 1}
    assert values["optimizer"]["lr"] == 1e-4


def test_the_kinds_are_those_that_the_command_offers() -> None:
    from advisor.cli.answers import FORMATS

    assert tuple(EMITTERS) == FORMATS


def test_without_a_known_length_lightning_is_told_none(monkeypatch: pytest.MonkeyPatch) -> None:
    advice: Advice = sample_advice(run_samples=claim(None, basis="user"))
    assert run(EMITTERS["lightning"](advice), monkeypatch)["trainer"].options == {"accumulate_grad_batches": 1}


@pytest.mark.parametrize("kind", ["python", "accelerate", "lightning"])
def test_nothing_is_called_measured_for_a_card_that_is_not_here(kind: str) -> None:
    unknown = claim(None, basis="predicted")
    predicted = claim(2**30, 2**29, 2**31, basis="predicted")
    absent = dataclasses.replace(RECOMMENDED, step_s=unknown, peak_reserved_bytes=predicted)
    assert "measured" in EMITTERS[kind](ADVICE)
    assert "measured" not in EMITTERS[kind](sample_advice(recommended=absent))
