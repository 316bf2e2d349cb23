"""Networks inside the user's own optimisation model: outputs as expressions of the model's variables."""

from verify.embedding.embed import Embedding, embed

__all__ = ["Embedding", "embed"]
