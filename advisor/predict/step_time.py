"""The time of an optimizer step on a card that is not here: operators of the simulated step on its fitted roofline.

The host starts one kernel after the other while the card works through them, so a step takes the longer of the two.
The interval comes from how far single kernels, and cards predicted from other cards, were off; comparisons of two
layouts on one card are tighter, because an error of a kind of operator is the same for both.
"""

import math
from collections import defaultdict

from advisor.predict.efficiency import SHORTEST_KERNEL_S, CardEfficiency, log_sd_of, operator_time_s
from advisor.predict.operators import UPDATE_PHASES, Operator, OperatorModel
from advisor.records import Claim, record

Z_90 = 1.645  # intervals hold 90 % of a normal distribution
NETWORK_LOG_SD = 0.08  # backward, memory format, clocks under a load of hours: whole networks beyond single kernels
HOST_FACTOR = 2.0  # computers and eager frameworks differ by so much, either way
LAYOUT_LOG_SD = 0.05  # a layer at two batches: 0.095 (batch_log_sd in efficiencies.json); a step has many layers


@record
class Scenario:
    """What may be off: the host by a factor, and every kind of operator by one."""

    host: float = 1.0
    kinds: tuple[tuple[str, float], ...] = ()
    all_kinds: float = 1.0

    def factor(self, kind: str) -> float:
        """By how much longer operators of this kind take."""
        return self.all_kinds * dict(self.kinds).get(kind, 1.0)


@record
class Load:
    """What a part of the step asks of the host and, kind by kind, of the card; seconds.

    ``spread``: the seconds of every kind times the standard deviation of their logarithm.
    """

    host_s: float
    kinds_s: dict[str, float]
    spread_s: dict[str, float]

    def time_s(self, scenario: Scenario) -> float:
        """Of this part in a step, if it were a step of its own."""
        card_s = sum(seconds * scenario.factor(kind) for kind, seconds in self.kinds_s.items())
        return max(scenario.host * self.host_s, card_s)

    def plus(self, other: "Load", times: float = 1.0) -> "Load":
        """Both together, the other one so many times."""
        names = {**self.kinds_s, **other.kinds_s}
        return Load(
            host_s=self.host_s + times * other.host_s,
            kinds_s={k: self.kinds_s.get(k, 0.0) + times * other.kinds_s.get(k, 0.0) for k in names},
            spread_s={k: self.spread_s.get(k, 0.0) + times * other.spread_s.get(k, 0.0) for k in names},
        )


class StepTimeModel:
    """Seconds of a step at any micro-batch and accumulation, on one card."""

    def __init__(self, operators: OperatorModel, card: CardEfficiency, gradients_bytes: int) -> None:
        self.card = card
        self._operators = operators
        self._gradients_bytes = gradients_bytes
        self._loads: dict[int, dict[str, Load]] = {}

    @property
    def source(self) -> str:
        """Where the figures come from, for a claim."""
        if self.card.is_own:
            basis = f"kernels measured on a {self.card.name}"
        else:
            basis = f"kernels measured on {len(self.card.measured_on)} other cards, none on a {self.card.name}"
        return f"operators of the simulated step on a roofline fitted to {basis}; 90 % interval"

    def step_time(self, micro_batch: int, accumulation: int) -> Claim:
        """Seconds of an optimizer step."""
        return self._time(self.load(micro_batch, accumulation))

    def micro_batch_time(self, micro_batch: int, *, first: bool) -> Claim:
        """Seconds of forward and backward alone; of a later micro-batch, gradients are added up."""
        return self._time(self._parts(micro_batch)["first_micro_batch" if first else "later_micro_batches"])

    def _time(self, load: Load) -> Claim:
        times_s = [load.time_s(one) for one in (_NOMINAL, *self._extremes(load))]
        return self._claim(times_s[0], min(times_s), max(times_s))

    def ratio(self, setting: tuple[int, int], present: tuple[int, int]) -> Claim:
        """Step time at a setting over that at the present one; what both get wrong alike cancels."""
        if setting == present:
            return self._claim(1.0, 1.0, 1.0)
        load, base = self.load(*setting), self.load(*present)
        both = load.plus(base)
        ratios = [load.time_s(one) / base.time_s(one) for one in (_NOMINAL, *self._scenarios(both))]
        spread = math.exp(Z_90 * LAYOUT_LOG_SD)
        return self._claim(ratios[0], min(ratios) / spread, max(ratios) * spread)

    def host_share(self, micro_batch: int, accumulation: int) -> float:
        """Time of the host over the time of the card; above 1 the card waits."""
        load = self.load(micro_batch, accumulation)
        return load.host_s / sum(load.kinds_s.values())

    def load(self, micro_batch: int, accumulation: int) -> Load:
        """Of a whole step."""
        parts = self._parts(micro_batch)
        later = parts.get("later_micro_batches") or parts["first_micro_batch"].plus(self._accumulate(micro_batch))
        step = parts["first_micro_batch"].plus(later, accumulation - 1)
        for phase in UPDATE_PHASES:
            step = step.plus(parts[phase]) if phase in parts else step
        return step

    def _parts(self, micro_batch: int) -> dict[str, Load]:
        if micro_batch not in self._loads:
            by_phase: dict[str, list[tuple[Operator, int]]] = defaultdict(list)
            for one, count in self._operators.at(micro_batch):
                by_phase[one.phase].append((one, count))
            self._loads[micro_batch] = {phase: self._load_of(found) for phase, found in by_phase.items()}
        return self._loads[micro_batch]

    def _load_of(self, found: list[tuple[Operator, int]]) -> Load:
        host_s, kinds_s, spread_s = 0.0, defaultdict[str, float](float), defaultdict[str, float](float)
        for one, count in found:
            seconds = count * operator_time_s(one, self.card)
            kinds_s[one.kind] += seconds
            spread_s[one.kind] += seconds * log_sd_of(one, self.card)
            host_s += count * self._host_s(one)
        return Load(host_s=host_s, kinds_s=dict(kinds_s), spread_s=dict(spread_s))

    def _host_s(self, one: Operator) -> float:
        """A call costs the host in proportion to what it was seen to take at least; further kernels a start each."""
        kinds = self.card.kinds
        kind = one.kind if one.kind in kinds else "bmm"
        calls_s = self.card.host_call_s * kinds[kind].call_s / kinds["elementwise"].call_s
        return calls_s + (one.launches - 1) * SHORTEST_KERNEL_S

    def _accumulate(self, micro_batch: int) -> Load:
        """Adding gradients up, where no later micro-batch was traced: a pass over them, a call for every weight."""
        calls = [count for one, count in self._operators.at(micro_batch) if _has_weight(one)]
        add = Operator(
            phase="later_micro_batches", kind="elementwise", precision="fp32", num_bytes=3 * self._gradients_bytes
        )
        load = self._load_of([(add, 1)])
        extra_s = self.card.host_call_s * sum(calls) / 3 * 2  # forward and twice back; a weight and a bias
        return load.plus(Load(host_s=extra_s, kinds_s={}, spread_s={}))

    # ---- what may be off ------------------------------------------------------------------------

    def _extremes(self, load: Load) -> list[Scenario]:
        """All kinds off together, as one product is as fast as the next; and the host."""
        total_s = sum(load.kinds_s.values())
        log_sd = math.hypot(sum(load.spread_s.values()) / total_s, NETWORK_LOG_SD)
        factor = math.exp(Z_90 * log_sd)
        return [
            Scenario(host=1 / HOST_FACTOR, all_kinds=1 / factor),
            Scenario(host=HOST_FACTOR, all_kinds=factor),
        ]

    def _scenarios(self, load: Load) -> list[Scenario]:
        """One thing off at a time, either way."""
        found = [Scenario(host=HOST_FACTOR), Scenario(host=1 / HOST_FACTOR)]
        for kind, seconds in load.kinds_s.items():
            factor = math.exp(Z_90 * math.hypot(load.spread_s[kind] / max(seconds, 1e-30), NETWORK_LOG_SD))
            found += [Scenario(kinds=((kind, factor),)), Scenario(kinds=((kind, 1 / factor),))]
        return found

    def _claim(self, value: float, low: float, high: float) -> Claim:
        return Claim(value=value, low=min(low, value), high=max(high, value), basis="predicted", source=self.source)


_NOMINAL = Scenario()


def _has_weight(one: Operator) -> bool:
    return one.phase == "first_micro_batch" and one.kind in ("convolution", "linear", "normalisation")
