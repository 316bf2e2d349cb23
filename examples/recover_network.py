"""Find a sparse ReLU network whose gates nobody knows, exactly; then under noise; then ask what it can be fooled by.

python examples/recover_network.py
"""

from __future__ import annotations

import numpy as np

import convexnn as cx
import verify


def main() -> None:
    """Plant a network of 5 neurons and 15 weights, recover it from 1,000 rows, and verify what was recovered."""
    rng = np.random.default_rng(0)
    X, fresh = rng.standard_normal((2, 1000, 30))
    planted, signs = np.zeros(5 * 30), np.array([1.0, 1.0, 1.0, -1.0, -1.0])
    planted[rng.choice(150, 15, replace=False)] = rng.standard_normal(15)

    def truth(rows: np.ndarray) -> np.ndarray:
        return np.maximum(rows @ planted.reshape(5, 30).T, 0.0) @ signs

    exact = cx.recover(X, truth(X), budget=15, width=5)
    print(exact)
    network = exact.to_network()
    print(f"worst error on fresh rows: {np.abs(network.predict(fresh) - truth(fresh)).max():.0e}\n")

    noisy = truth(X) + 0.1 * truth(X).std() * rng.standard_normal(1000)
    found = cx.recover(X, noisy, budget=30, width=5, significant=True, n_restarts=1, patience=10)
    error = np.std(found.to_network().predict(fresh) - truth(fresh)) / np.std(truth(fresh))
    print(f"10 % noise, budget 30: {found.nnz} significant weights, {100 * error:.1f} % error on noiseless rows\n")

    region = verify.LinfBall(fresh[0], 0.05)
    print(verify.find_adversarial(verify.read_network(network), region, time_limit=30))


if __name__ == "__main__":
    main()
