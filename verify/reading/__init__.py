"""Reading networks: whatever the user holds becomes a SparseReLUNetwork, exactly.

In come torch modules, ONNX files, scikit-learn models and our own files; out comes a chain of (csr weight, bias)
layers, compared with the original. Start reading in `read_network.py`; what cannot be read exactly is refused.
"""
