"""Scores rows with a file: a forest of scikit-learn in a .joblib, or a graph for ONNX Runtime."""
import numpy as np


def load(path):
    """Returns a function from lists of numbers to a list of scores. ONNX Runtime uses one thread a call."""
    if path.endswith(".onnx"):
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        score = lambda x: session.run(["scores"], {"X": x})[0].ravel()
    else:
        import joblib

        score = joblib.load(path).decision_function
    return lambda rows: score(np.array(rows, dtype=np.float32)).tolist()
