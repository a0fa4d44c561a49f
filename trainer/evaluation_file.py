"""``RUN/evaluation.json``, read strictly."""

from advisor import schema, storage
from advisor.errors import UsageError
from advisor.evaluation import Evaluation
from trainer.folder import RunFolder


def read_evaluation(folder: RunFolder) -> Evaluation | None:
    """What is known of a run's checkpoints; ``None`` if nothing is.

    Raises:
        UsageError: if the file is damaged or of another version.
    """
    if not folder.evaluation.exists():
        return None
    plain = storage.require_json_object(folder.evaluation)
    try:
        return schema.from_plain(Evaluation, plain, where=str(folder.evaluation))
    except UsageError as error:
        raise UsageError(f"{error}; delete the file, and `cfgadvise evaluate` writes it anew") from None
