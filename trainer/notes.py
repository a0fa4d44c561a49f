"""What a run tells its user: an id, the English sentence, and the values that fill it.

Written as in :mod:`advisor.recommend.reasons`, so that the reports can say it in another language.
"""

from advisor.recommend.reasons import fill
from advisor.records import Note, Value

NOTES: dict[str, str] = {
    "resumed": "Going on from the checkpoint at {samples:count} samples.",
    "already_finished": "{path} is finished; for another run choose another --out.",
    "encoding": "Encoding {count:count} pictures with the VAE; this is done once.",
    "samples_drawn": "Samples after {samples:count} pictures seen: {path}",
    "data_animated": "{count} animated pictures: only the first frame is used ({names}).",
    "data_one_picture": "There is only one picture: the result can only be a copy of it.",
    # ---- why a step is measured with made-up pictures
    "data_not_encoded": (
        "The gradient noise scale was not measured, so the effective batch is not changed: the VAE {vae} has not"
        " encoded these pictures yet, so the step was fed made-up latents. The run encodes them, and measures it."
    ),
    "data_slow_to_decode": (
        "The gradient noise scale was not measured, so the effective batch is not changed: to decode the {count:count}"
        " pictures would take {needed_s:duration}, so the step was fed made-up ones. --noise-scale decodes them all the"
        " same; `cfgadvise train` measures it during the run."
    ),
    "data_not_kept": (
        "The gradient noise scale was not measured, so the effective batch is not changed: the decoded pictures could"
        " not be kept for the processes that measure, so the step was fed made-up ones: {problem}"
    ),
    "batch_repeats": "{num_train} training pictures, batch {batch}: each comes {times:ratio} times in every batch.",
    "not_compiled": "The network could not be compiled and runs as it is, with the same numbers: {problem}",
    "micro_batch_halved": "Out of memory: micro-batch {before} becomes {after}, the effective batch stays the same.",
    "encoding_in_pieces": "Out of memory in encoding: {after} pictures at a time, not {before}; nothing else changes.",
    "validation_in_pieces": (
        "Out of memory in validation: {after} pictures at a time, not {before}; nothing else changes."
    ),
    "sampling_in_pieces": "Out of memory in sampling: {after} pictures at a time, not {before}; nothing else changes.",
    "decoding_in_pieces": "Out of memory in decoding: {after} pictures at a time, not {before}; nothing else changes.",
    "validation_left_out": "The validation was left out, for memory ran out: {problem}. Training goes on.",
    "grid_left_out": "The grid of samples was left out, for memory ran out: {problem}. Training goes on.",
    "judgement_left_out": "The judgement of samples was left out, for memory ran out: {problem}. The run goes on.",
    "baselines_left_out": (
        "The baselines were left out, for memory ran out: {problem}. Training goes on; what it learns is not judged."
    ),
    "checks_left_out": "A health check was left out, for memory ran out: {problem}. Training goes on.",
    "noise_scale_left_out": (
        "The gradient noise scale is not measured any more, for memory ran out: {problem}. Training goes on."
    ),
    "other_batch_from_here": (
        "The gradient noise scale is {value:count} samples ({low:count} to {high:count}) at {share:percent} of the run:"
        " from here micro-batch {micro_batch} x accumulation {accumulation} with learning rate {lr:lr} would take"
        " {ratio:ratio} of the time to the same progress ({ratio_low:ratio} to {ratio_high:ratio})."
        " Nothing was changed: the batch of a run stays what it is."
    ),
    "save_failed": "No checkpoint at {samples:count} samples: {problem}",
    "tracker_failed": "The tracker {name} failed and is left out from here on: {problem}. Training goes on.",
    "tracker_hangs": "The tracker {name} did not end within {patience_s:duration} and is left behind.",
    # ---- the judgement of generated pictures
    "sweeping": "Trying guidance scales and numbers of steps with the checkpoint at {samples:count} samples.",
    "judging": "Judging the checkpoint at {samples:count} samples.",
    "checkpoint_copies": (
        "{share:percent} of {count} generated pictures are copies (up to {high:percent}; held-out pictures "
        "{control:percent}, allowed {allowance:percent} more)."
    ),
    "checkpoint_rising": (
        "The validation loss in noise bucket {bucket} of {buckets} rose twice running (p {p}, limit {limit})."
    ),
    "choice_kid": (
        "Lowest KID ({value}) of {feasible} feasible checkpoints among {count}; within its error the earliest."
    ),
    "choice_classifier": (
        "Best classifier trained on its pictures ({value:percent} right) of {feasible} feasible checkpoints among "
        "{count}; within its error the earliest."
    ),
    "choice_validation": (
        "Lowest validation loss of {feasible} feasible checkpoints among {count}: too few held-out pictures for a KID."
    ),
    "choice_last": "The last of {feasible} feasible checkpoints among {count}: nothing was held out to judge by.",
    "choice_none_feasible": (
        "None of {count} checkpoints is free of copies or of overfitting; at {samples:count} samples copies are "
        "fewest ({share:percent})."
    ),
    "stop_infeasible": (
        "Checkpoints at {before:count} and {samples:count} samples both copy or overfit: more training makes it worse."
    ),
    "stop_flat": (
        "Neither validation loss (change within {limit:percent}) nor KID improved from {before:count} to "
        "{samples:count} samples."
    ),
    "sampling_advised": (
        "Guidance {guidance} with {steps} steps: the smallest at which neither KID ({kid}, {count} pictures) nor the "
        "share of recognised classes ({recognised:percent}) is clearly worse than at the best."
    ),
    "found_copies": (
        "Copies: {share:percent} of {count} pictures at guidance {guidance} (up to {high:percent}), held-out pictures "
        "{control:percent}, at {samples:count} samples with {num_train} training pictures. Use the chosen checkpoint; "
        "to train longer, add pictures, remove duplicates, or stop earlier."
    ),
    "found_guidance": (
        "Guidance {guidance} is too strong: KID {kid} (at least {low}), without guidance {plain} (at most "
        "{plain_high}); variety inside a class is {diversity:percent} of that of real pictures. Use {advised}."
    ),
    "found_unjudged": (
        "Whether the classes are told apart cannot be judged: the classifier recognises only {real:percent} of "
        "held-out real pictures (guessing {chance:percent}), {share:percent} of {count} generated ones. It needs more "
        "real pictures a class, or --features."
    ),
    "found_alike": (
        "The classes are not told apart: {share:percent} of {count} generated pictures are recognised (up to "
        "{high:percent}), guessing {chance:percent}, real pictures {real:percent}."
    ),
    "found_partly": (
        "The classes are told apart in part: {share:percent} of {count} generated pictures are recognised "
        "({low:percent} to {high:percent}), real pictures {real:percent}."
    ),
    "found_apart": (
        "The classes are told apart: {share:percent} of {count} generated pictures are recognised ({low:percent} to "
        "{high:percent}), real pictures {real:percent}, guessing {chance:percent}."
    ),
    "found_confused": "Most often {asked} is taken for {judged}: {share:percent} of its pictures.",
    "remedy_guidance": (
        "What to change: guidance {guidance}. With it {share:percent} are recognised instead of {before:percent}."
    ),
    "remedy_longer": (
        "What to change: train longer. The share recognised rose from {before:percent} at {first:count} samples to "
        "{share:percent} at {samples:count}; try --samples {longer}."
    ),
    "remedy_unknown": (
        "What helps is not known yet: cfgadvise evaluate --checkpoint all compares checkpoints and guidance."
    ),
    "remedy_condition": (
        "What to change: neither guidance nor longer training raised it. Add pictures of each class, lower "
        "label_dropout, or take a larger preset."
    ),
    "found_narrow": (
        "Too little variety, even without guidance: pictures of a class are {diversity:percent} as far apart as real "
        "ones, least in {narrowest}. Train longer while KID falls; otherwise add pictures of each class."
    ),
    "found_few_held_out": (
        "Only {count} pictures are held out; below {least} there is no KID. Raise held_out_frac in another run."
    ),
}


def note(note_id: str, **values: Value) -> Note:
    """A note of the catalogue, with its English sentence."""
    return Note(id=note_id, text=fill(NOTES[note_id], values), values=values)
