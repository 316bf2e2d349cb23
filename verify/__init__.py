"""Exact verification of sparse ReLU networks: a network, a region and a question in, a proof or a witness out."""

from verify.answer import Answer, Proof, Verdict
from verify.balls import L1Ball, L2Ball
from verify.bounds import bound
from verify.embedding import Embedding, embed
from verify.encoding import Encoding, Milp, encode
from verify.intervals import Interval
from verify.reading import read_network
from verify.regions import Box, LinfBall
from verify.search import find_adversarial
from verify.simplifying import simplify

__all__ = [
    "Answer",
    "Box",
    "Embedding",
    "Encoding",
    "Interval",
    "L1Ball",
    "L2Ball",
    "LinfBall",
    "Milp",
    "Proof",
    "Verdict",
    "bound",
    "embed",
    "encode",
    "find_adversarial",
    "read_network",
    "simplify",
]
