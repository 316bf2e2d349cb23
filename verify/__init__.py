"""Exact verification of sparse ReLU networks: a network, a region and a question in, a proof or a witness out."""

from verify.answer import Answer, Proof, Verdict
from verify.bounds import bound
from verify.encoding import Encoding, Milp, encode
from verify.intervals import Interval
from verify.maximising import maximize, minimize, output_range
from verify.optimum import Optimum, OutputRange, Status
from verify.reading import read_network
from verify.regions import Box, LinfBall
from verify.search import find_adversarial

__all__ = [
    "Answer",
    "Box",
    "Encoding",
    "Interval",
    "LinfBall",
    "Milp",
    "Optimum",
    "OutputRange",
    "Proof",
    "Status",
    "Verdict",
    "bound",
    "encode",
    "find_adversarial",
    "maximize",
    "minimize",
    "output_range",
    "read_network",
]
