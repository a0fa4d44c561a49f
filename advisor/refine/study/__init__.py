"""An Optuna study that holds every training of a plan exactly once, whoever is killed.

Every training is a row before it starts: a *slot*, which waits, is taken by one worker (a compare-and-set in the
database), and ends. A worker that dies leaves a running row: it fails when its heartbeat is overdue, or at once
where its process is seen to be gone, and its slot waits again with the same learning rate.
"""

from advisor.refine.study.opening import join_study, open_study
from advisor.refine.study.sampling import Space
from advisor.refine.study.storage import Place
from advisor.refine.study.work import Study

__all__ = ["Place", "Space", "Study", "join_study", "open_study"]
