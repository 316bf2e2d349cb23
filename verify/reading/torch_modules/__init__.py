"""Torch modules as graphs of affine maps and ReLUs, as they compute in eval mode.

In comes a module; a chain of known layers is followed as it stands, any other module is traced by torch.fx
(`tracing.py`, with shapes `shaped_tracing.py`), which runs none of its branches on numbers and so misses none; what it
changes in place and uses by another name is refused (`in_place.py`). One with several inputs is made one of a row first
(`joined.py`). `layers.py` holds the rules of layers, `functions.py`, `windowed.py` and `arrays.py` those of functions
and methods, whose common words are in `parts.py`; out goes a value of `verify.reading.graph`. Start in `tracing.py`.
"""
