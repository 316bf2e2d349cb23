"""Branch and bound: a question is split at neurons until linear relaxation answers every part."""

from verify.branching.modes import Modes
from verify.branching.relaxation import Relaxation, suits
from verify.branching.sharpening import sharpen
from verify.branching.tree import Branched, branch

__all__ = ["Branched", "Modes", "Relaxation", "branch", "sharpen", "suits"]
