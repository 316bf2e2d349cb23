"""ONNX models as graphs of affine maps and ReLUs, held against what onnxruntime computes.

In comes the model of a file, bytes or a ModelProto (`model_files.py`); its live nodes are walked from the input to the
chosen output (`walk.py`), by rules that each turn signals and constants into signals (`rules.py` lists them; what
follows from constants alone is folded in `constants.py`); out goes a value of `verify.reading.graph`. `comparison.py`
runs the model on random rows beside what was read. Start reading in `from_onnx.py`.
"""
