"""The forms that `doors.py` reads: torch modules and fitted estimators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from convexnn.checks import Floats

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Made:
    """A network in some form.

    Attributes
    ----------
    source : Any
        What is read.
    run : callable
        Takes rows (n, d), returns outputs of any shape.
    shape : tuple of int or None
        The shape of a row, where the form does not tell it.
    sizes : tuple of int
        The shape of a row.
    """

    source: Any
    run: Callable[[Rows], Floats]
    shape: tuple[int, ...] | None
    sizes: tuple[int, ...]


class Function(nn.Module):
    """A module whose forward is a function of its parts."""

    def __init__(self, forward: Callable[..., Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.function = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        """Return the function of the parts and x."""
        return self.function(self, x)


class Weights(nn.Module):
    """A module that uses its parameters directly."""

    def __init__(self) -> None:
        super().__init__()
        self.W, self.b = nn.Parameter(torch.randn(6, 4)), nn.Parameter(torch.randn(4))

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(x W + b) less its mean."""
        h = torch.relu(x @ self.W + self.b)
        return h - h.mean(dim=1, keepdim=True)


def block(channels: int) -> nn.Module:
    """Return a residual block of convolutions and batch norms."""
    parts = {"one": nn.Conv2d(channels, channels, 3, padding=1), "two": nn.BatchNorm2d(channels)}
    return Function(lambda m, x: F.relu(m.two(m.one(x)) + x), **parts)


def conv(channels: int = 1, out: int = 3) -> nn.Module:
    """Return a convolution that keeps the grid."""
    return nn.Conv2d(channels, out, 3, padding=1)


def modules() -> dict[str, Made]:
    """Return torch modules, each with the shape of its rows."""
    torch.manual_seed(0)
    lin, image, vector = nn.Linear, (1, 6, 6), (6,)
    made: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
        "mlp": (nn.Sequential(lin(6, 8), nn.ReLU(), lin(8, 8), nn.ReLU(), lin(8, 3)), vector),
        "mlp, softmax": (nn.Sequential(lin(6, 8), nn.ReLU(), lin(8, 3), nn.Softmax(1)), vector),
        "mlp, sigmoid": (nn.Sequential(lin(6, 8), nn.ReLU(), lin(8, 1), nn.Sigmoid()), vector),
        "mlp, log-softmax": (nn.Sequential(lin(6, 8), nn.ReLU(), lin(8, 3), nn.LogSoftmax(1)), vector),
        "mlp, batch norm, dropout": (
            nn.Sequential(lin(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), lin(8, 3)),
            vector,
        ),
        "leaky relu": (nn.Sequential(lin(6, 8), nn.LeakyReLU(0.1), lin(8, 8), nn.LeakyReLU(0.1), lin(8, 3)), vector),
        "prelu": (nn.Sequential(lin(6, 8), nn.PReLU(8), lin(8, 3)), vector),
        "relu6": (nn.Sequential(lin(6, 8), nn.ReLU6(), lin(8, 3)), vector),
        "hardtanh": (nn.Sequential(lin(6, 8), nn.Hardtanh(), lin(8, 3)), vector),
        "hardsigmoid": (nn.Sequential(lin(6, 8), nn.Hardsigmoid(), lin(8, 3)), vector),
        "clamp": (Function(lambda m, x: m.b(m.a(x).clamp(min=0)), a=lin(6, 8), b=lin(8, 3)), vector),
        "absolute": (Function(lambda m, x: m.b(m.a(x).abs()), a=lin(6, 8), b=lin(8, 3)), vector),
        "residual": (Function(lambda m, x: x + m.b(torch.relu(m.a(x))), a=lin(6, 8), b=lin(8, 6)), vector),
        "dense": (
            Function(lambda m, x: m.b(torch.cat([x, torch.relu(m.a(x))], dim=1)), a=lin(6, 8), b=lin(14, 3)),
            vector,
        ),
        "two branches": (
            Function(
                lambda m, x: torch.maximum(m.a(x), m.b(x)) - torch.minimum(m.a(x), m.b(x)), a=lin(6, 3), b=lin(6, 3)
            ),
            vector,
        ),
        "normalised inputs": (
            Function(lambda m, x: m.b(torch.relu(m.a((x - 0.5) / 0.25))), a=lin(6, 8), b=lin(8, 3)),
            vector,
        ),
        "parameters": (Weights(), vector),
        "dueling": (
            Function(
                lambda m, x: m.v(F.relu(m.a(x))) + m.u(F.relu(m.a(x))) - m.u(F.relu(m.a(x))).mean(1, keepdim=True),
                a=lin(6, 8),
                v=lin(8, 1),
                u=lin(8, 3),
            ),
            vector,
        ),
        "slices": (Function(lambda m, x: m.a(torch.relu(x[:, :3] - x[:, 3:])), a=lin(3, 2)), vector),
        "chunks": (Function(lambda m, x: torch.relu(m.a(x)).chunk(2, dim=1)[0] * 2.0, a=lin(6, 8)), vector),
        "scalar": (Function(lambda m, x: m.b(torch.relu(m.a(x))).squeeze(-1), a=lin(6, 8), b=lin(8, 1)), vector),
        "cnn": (nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), lin(108, 3)), image),
        "cnn, max pool": (nn.Sequential(conv(), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), lin(27, 3)), image),
        "cnn, average pool": (nn.Sequential(conv(), nn.ReLU(), nn.AvgPool2d(3, 2, 1), nn.Flatten(), lin(27, 3)), image),
        "cnn, global pool": (
            nn.Sequential(conv(), nn.BatchNorm2d(3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), lin(3, 3)),
            image,
        ),
        "cnn, view": (
            Function(lambda m, x: m.b(F.relu(m.a(x)).view(x.size(0), -1)), a=conv(), b=lin(108, 3)),
            image,
        ),
        "cnn, functional": (
            Function(
                lambda m, x: m.b(torch.flatten(F.max_pool2d(F.leaky_relu(m.a(x), 0.2), 3, 2), 1)),
                a=conv(),
                b=lin(12, 3),
            ),
            image,
        ),
        "cnn, strided, grouped": (
            nn.Sequential(nn.Conv2d(2, 4, 3, 2, 1, groups=2), nn.ReLU(), nn.Flatten(), lin(36, 2)),
            (2, 6, 6),
        ),
        "cnn, one axis": (
            nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), lin(6, 2)),
            (2, 6),
        ),
        "cnn, transposed": (nn.Sequential(nn.ConvTranspose2d(1, 2, 3, 2), nn.ReLU(), nn.Flatten(), lin(338, 2)), image),
        "cnn, padding, upsampling": (
            nn.Sequential(
                nn.ZeroPad2d((1, 0, 0, 1)), nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Flatten()
            ),
            image,
        ),
        "resnet": (
            nn.Sequential(conv(1, 4), nn.ReLU(), block(4), block(4), nn.AvgPool2d(2), nn.Flatten(), lin(36, 3)),
            image,
        ),
        "permuted": (
            Function(lambda m, x: m.b(F.relu(m.a(x)).permute(0, 2, 3, 1).flatten(1)), a=conv(), b=lin(108, 2)),
            image,
        ),
        "tanh": (nn.Sequential(lin(6, 8), nn.Tanh(), lin(8, 3)), vector),
        "gelu": (nn.Sequential(lin(6, 8), nn.GELU(), lin(8, 3)), vector),
        "layer norm": (nn.Sequential(lin(6, 8), nn.LayerNorm(8), nn.ReLU(), lin(8, 3)), vector),
        "product": (Function(lambda m, x: m.a(x) * m.b(x), a=lin(6, 3), b=lin(6, 3)), vector),
    }
    return {name: _of_module(module, sizes) for name, (module, sizes) in made.items()}


def _of_module(module: nn.Module, sizes: tuple[int, ...]) -> Made:
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.uniform_(-1.0, 1.0)
            part.running_var.uniform_(0.5, 2.0)

    def run(rows: Rows) -> Floats:
        with torch.no_grad():
            return np.asarray(module.eval()(torch.tensor(rows.reshape(-1, *sizes))).numpy())

    return Made(module, run, sizes, sizes)


def estimators() -> dict[str, Made]:
    """Return fitted estimators."""
    from sklearn.decomposition import PCA
    from sklearn.feature_selection import SelectKBest, f_regression
    from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge, SGDClassifier
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, Normalizer, RobustScaler, StandardScaler
    from sklearn.svm import LinearSVC, LinearSVR

    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 4))
    y = np.abs(X[:, 0]) - X[:, 1]
    two, three = (y > 0).astype(int), np.digitize(y, [-0.5, 0.7])
    small: dict[str, Any] = {"hidden_layer_sizes": (6, 4), "max_iter": 30}
    made: dict[str, tuple[Any, Any]] = {
        "linear regression": (LinearRegression(), y),
        "ridge, two targets": (Ridge(), np.column_stack([y, X[:, 2]])),
        "lasso": (Lasso(0.01), y),
        "linear SVR": (LinearSVR(), y),
        "logistic regression, two classes": (LogisticRegression(), two),
        "logistic regression, three classes": (LogisticRegression(), three),
        "linear SVC": (LinearSVC(), three),
        "SGD": (SGDClassifier(), two),
        "MLP regressor": (MLPRegressor(**small), y),
        "MLP classifier, two classes": (MLPClassifier(**small), two),
        "MLP classifier, three classes": (MLPClassifier(**small), three),
        "standard scaler, MLP": (make_pipeline(StandardScaler(), MLPRegressor(**small)), y),
        "min-max scaler, MLP": (make_pipeline(MinMaxScaler(), MLPClassifier(**small)), three),
        "clipping scaler, ridge": (make_pipeline(MinMaxScaler(clip=True), Ridge()), y),
        "max-abs scaler, SVR": (make_pipeline(MaxAbsScaler(), LinearSVR()), y),
        "robust scaler, logistic": (make_pipeline(RobustScaler(), LogisticRegression()), three),
        "PCA, MLP": (make_pipeline(StandardScaler(), PCA(2), MLPRegressor(**small)), y),
        "selected features, MLP": (make_pipeline(SelectKBest(f_regression, k=2), MLPRegressor(**small)), y),
        "normalizer, ridge": (make_pipeline(Normalizer(), Ridge()), y),
    }
    return {name: _of_estimator(estimator, X, target) for name, (estimator, target) in made.items()}


def _of_estimator(estimator: Any, X: Floats, target: Any) -> Made:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(X, target)

    def run(rows: Rows) -> Floats:
        if hasattr(estimator, "decision_function"):
            return np.asarray(estimator.decision_function(rows))
        if not hasattr(estimator, "predict_proba"):
            return np.asarray(estimator.predict(rows))
        shares = estimator.predict_proba(rows.astype(np.float64))
        scores = np.log(shares)
        # Scores are known up to a shift a row, which the outputs of the network have.
        network = _scores(estimator, rows)
        return (
            scores[:, 1] - scores[:, 0] if len(shares[0]) == 2 else scores + (network - scores).mean(1, keepdims=True)
        )

    return Made(estimator, run, None, (X.shape[1],))


def _scores(estimator: Any, rows: Rows) -> Floats:
    import verify

    return verify.read_network(estimator).activations(rows.astype(np.float64))[-1]
