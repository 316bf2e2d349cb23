"""What sparse networks are compared with: dense training, magnitude pruning (iterative, one-shot) and RigL.

In come data and a budget; out comes a :class:`Baseline`: its network and what it took. Start reading in `task.py`
(data and the choices that all share) and `training.py`.
"""

from convexnn.baselines.dense import train_dense
from convexnn.baselines.dynamic_sparse_training import rigl
from convexnn.baselines.iterative_pruning import prune_iteratively
from convexnn.baselines.one_shot_pruning import prune_once
from convexnn.baselines.result import Baseline

__all__ = ["Baseline", "prune_iteratively", "prune_once", "rigl", "train_dense"]
