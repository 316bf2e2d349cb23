"""Reading networks: whatever the user holds becomes a SparseReLUNetwork, exactly.

In come torch modules, ONNX files, scikit-learn models and our own files; out comes a chain of (csr weight, bias)
layers, compared with the original (`agreement.py`). Start reading in `read_network.py`. `from_onnx.py` walks a graph,
whose nodes are rules of `onnx_nodes.py`; `affine_steps.py` joins what is read. What cannot be read exactly is refused.
"""
