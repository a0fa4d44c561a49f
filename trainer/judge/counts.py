"""How many pictures of a run are judged, so that judging stays a small part of training."""

MAX_GENERATED = 1000
MAX_AT_MILESTONE = 256
MIN_AT_MILESTONE = 64  # fewer say next to nothing: no copy among 64 may still be 6 %
# Sampling one picture costs about as much as training on 20 / 3; this keeps the evaluation at the end
# near 15 % of a run, and those at the milestones together below 7 %.
_TRAINING_SAMPLES_PER_GENERATED = 40
_TRAINING_SAMPLES_PER_MILESTONE_GENERATED = 100


def num_to_generate(training_samples: int, num_classes: int) -> int:
    """How many pictures the evaluation at the end of a run draws: the same number for every class."""
    return even(min(MAX_GENERATED, training_samples // _TRAINING_SAMPLES_PER_GENERATED), num_classes)


def num_at_milestone(training_samples: int, num_milestones: int, num_classes: int) -> int:
    """How many pictures are judged at each milestone; 0 if that would cost too much or say too little."""
    affordable = training_samples // _TRAINING_SAMPLES_PER_MILESTONE_GENERATED // max(1, num_milestones - 1)
    wanted = even(min(MAX_AT_MILESTONE, affordable), num_classes)
    return wanted if MIN_AT_MILESTONE <= wanted <= affordable else 0


def even(count: int, num_classes: int) -> int:
    """The same number of every class, and at least one: ``count`` or less where that can be."""
    return max(1, count // num_classes) * num_classes
