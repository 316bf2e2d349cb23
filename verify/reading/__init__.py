"""Reading networks: whatever the user holds becomes a SparseReLUNetwork or a ReLUGraph, exactly.

In come torch modules, ONNX models, scikit-learn estimators and our own files; out comes a network of (csr weight, bias)
layers, compared with the original. Start reading in `read_network.py`. The readers (`from_onnx.py` over `onnx_files/`,
`from_torch.py` over `torch_modules/`, `from_sklearn.py` over `scalers.py`) build one form, values of `graph/`, which
`graph/layering.py` lays out in layers; `side_by_side.py` makes one network of several. What cannot be read exactly is
refused.
"""
