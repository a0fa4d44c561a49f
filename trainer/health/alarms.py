"""The alarms: for each the sign, the statistic with its threshold and n, and what to do.

Where the thresholds come from: ``docs/health.md``. The values of every alarm hold ``statistic``,
``threshold`` and ``n``.
"""

from collections.abc import Callable

from advisor.recommend.reasons import fill
from advisor.records import Note, Value

ALARMS: dict[str, str] = {
    # ---- data
    "data_non_finite": (
        "{statistic} of {n} encoded pictures hold NaN or infinity, where {threshold} may ({names}): nothing can be"
        " trained on them. Mend or remove these files, or take another VAE."
    ),
    "data_scale": (
        "The data are not at the scale that the noise is made for: root mean square {statistic:.3g}, at most"
        " {threshold:.3g} (n = {n} pictures). Check the range of the pixels, or the VAE's scaling factor."
    ),
    "labels_unrelated": (
        "Labels and pictures look unrelated: the variance between classes is {statistic:.2f} times that inside them,"
        " which random labels reach, too ({threshold:.2f}, n = {n} pictures)."
        " Check that every class folder holds its own pictures."
    ),
    "copies_expected": (
        "Copies are to be expected: {n} pictures will be seen {statistic:.0f} times each, and small experiments"
        " began to overfit after {threshold:.0f} times."
        " Take more pictures, or look for copies from {from_samples:count} samples on."
    ),
    # ---- the step
    "order_stuck": (
        "The data order is stuck: one picture came {statistic} times, a new order each epoch allows {threshold}"
        " (n = {n} draws). Stop: the run sees only a part of its pictures."
    ),
    "order_repeats": (
        "The data order is the same in every epoch: rank correlation of two epochs {statistic:.1f} standard deviations,"
        " threshold {threshold:.1f} (n = {n} pictures). Check the seed of the order."
    ),
    "bucket_untrained": (
        "Noise bucket {bucket} of 8 is not trained: its training loss is {statistic:.3f} of what error and weight"
        " foretell, below {threshold:.2f} (n = {n} samples). Check the weighting of the loss."
    ),
    "non_finite_step": (
        "{statistic} loss or gradient norm is not finite at {samples:count} samples, {threshold} may be (n = {n} steps"
        " looked at); pictures of that step: {names}."
        " No weight was changed; lower the learning rate, or look at these pictures."
    ),
    "gradient_spikes": (
        "Gradient spikes: {statistic} of the last {n} steps were more than 6 robust standard deviations above the"
        " median, {threshold} may be. Lower the learning rate, or look for pictures that do not belong."
    ),
    "clipped_often": (
        "{statistic:percent} of the last {n} steps were clipped, more than {threshold:percent}: the rule for the"
        " learning rate does not hold. Lower the learning rate, or raise clip_norm."
    ),
    "loss_oscillates": (
        "The loss oscillates: means of blocks of steps swing by {statistic:percent}, more than {threshold:percent};"
        " their variance is {factor:.1f} times what the draws explain (n = {n} blocks). Halve the learning rate, or"
        " take a longer weight average."
    ),
    # ---- what is learned
    "lr_too_high": (
        "It does not learn, and the weights were thrown far from where they began ({moved:.2f} of their own length):"
        " at this pace the error ends at {statistic:.3f} or more, the best linear denoiser has {threshold:.3f}"
        " (n = {n} tuples). Start again with a tenth of the learning rate: --set lr={lr:lr}."
    ),
    "lr_too_low": (
        "It learns too slowly, and the weights have hardly moved ({moved:.2f} of their own length): at this pace the"
        " error ends at {statistic:.3f} or more, the best linear denoiser has {threshold:.3f} (n = {n} tuples)."
        " Start again with ten times the learning rate: --set lr={lr:lr}."
    ),
    "ema_stuck": (
        "The weight average does not follow the weights: it went {statistic:.3f} of their way since the last"
        " validation, its half-life implies at least {threshold:.3f} (n = {n} weights). Samples and exports of this run"
        " are not what was trained."
    ),
    "label_ignored": (
        "The label is not used: with it the error is lower by {statistic:.1f} standard errors, below {threshold:.1f}"
        " (n = {n} tuples; a gain of {limit:percent} or more is excluded). Check the labels; lower label_dropout."
    ),
    "overfit": (
        "It begins to overfit: the error on held-out pictures rose twice running, by {statistic:.1f} standard errors in"
        " noise bucket {bucket} of 8, threshold {threshold:.1f} (n = {n} tuples). Prefer a checkpoint from before"
        " {best_samples:count} samples; take more pictures, or stop."
    ),
    "plateau_reached": (
        "The validation error stands still: it changed by {statistic:percent} or less over a fifth of the run, below"
        " {threshold:percent} (n = {n} tuples). Let the learning rate decay, or stop here."
    ),
    "samples_overdriven": (
        "The samples are overdriven: their values spread {statistic:.2f} times as far as the pictures', more than"
        " {threshold:.2f} (n = {n} samples, guidance {guidance:g}). Lower the guidance."
    ),
    # ---- the machine
    "step_slower": (
        "Steps became slower: {statistic:.2f} times the time at the beginning, for {n} log lines without exception;"
        " threshold {threshold:.2f}. Look for other programs, heat and a slow disk: cfgadvise probe."
    ),
    "memory_grows": (
        "Memory grows steadily: at this pace {statistic:bytes} at the end of the run, there are {threshold:bytes}"
        " (n = {n} log lines). The same command goes on after a restart, which frees it."
    ),
    "throttled": (
        "The card slowed itself down ({reasons}) for {statistic:percent} of the time, more than {threshold:percent}"
        " (n = {n} log lines). Clean its fans, or lower its power limit: cfgadvise probe."
    ),
}

# A cause, and the signs that follow from it: once the cause is known, they are not alarms of their own.
_LEARNING = ("lr_too_high", "lr_too_low", "label_ignored", "overfit", "plateau_reached", "samples_overdriven")
_STEPS = ("gradient_spikes", "clipped_often", "loss_oscillates")
EXPLAINS: dict[str, tuple[str, ...]] = {
    "data_non_finite": tuple(ALARMS),
    "data_scale": (*_LEARNING, *_STEPS, "bucket_untrained", "ema_stuck", "non_finite_step"),
    "labels_unrelated": ("label_ignored",),
    "copies_expected": ("plateau_reached",),
    "order_stuck": (*_LEARNING, *_STEPS, "order_repeats", "bucket_untrained"),
    "bucket_untrained": (*_LEARNING, "loss_oscillates"),
    "ema_stuck": _LEARNING,
    "lr_too_high": (*_LEARNING, *_STEPS),
    "lr_too_low": (*_LEARNING, "clipped_often"),
    "non_finite_step": tuple(ALARMS),
}


def alarm(alarm_id: str, *, statistic: float, threshold: float, n: int, **values: Value) -> Note:
    """An alarm of the catalogue, with its English sentence."""
    known: dict[str, Value] = {"statistic": statistic, "threshold": threshold, "n": n, **values}
    return Note(id=alarm_id, text=fill(ALARMS[alarm_id], known), values=known)


class Alarms:
    """Raises every alarm once, and none that an earlier one explains."""

    def __init__(self, raise_alarm: Callable[[Note], None]) -> None:
        self._raise, self.raised = raise_alarm, list[str]()

    def __call__(self, said: Note | None) -> None:
        """Raise it, unless there is nothing to say."""
        if said is None or not self.is_news(said.id):
            return
        self.raised.append(said.id)
        self._raise(said)

    def is_news(self, alarm_id: str) -> bool:
        """Whether this alarm was neither raised nor explained by one that was."""
        return alarm_id not in self.raised and all(alarm_id not in EXPLAINS.get(cause, ()) for cause in self.raised)
