"""How fast exact k-NN is beside scikit-learn's brute force: `python tests/benchmarks/knn_ratio.py`.

Both classify the same pictures on all cores, in turns, so that a busy machine slows both alike.
Prints the median seconds of each and the median of the ratios of neighbouring runs.
"""

import argparse
import statistics
import time

import jax
import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from catdog_jax.data.load import load_dataset
from catdog_jax.estimators.knn import knn


def pictures(data_dir, num_train, num_test):
    """Real cats and dogs where a TFDS folder is given, drawn ones otherwise, as floats in 0..1."""
    if data_dir:
        dataset = load_dataset("cifar10", data_dir=data_dir)
    else:
        dataset = load_dataset(f"procedural:num_train={num_train}:num_test={num_test}")
    parts = ((dataset.train, num_train), (dataset.test, num_test))
    images = [part.inputs[:count].astype(np.float32) / 255 for part, count in parts]
    return images[0], dataset.train.labels[:num_train], images[1]


def seconds(predict):
    """Time one call."""
    start = time.perf_counter()
    predict()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", default="", help="TFDS folder with cifar10 prepared")
    parser.add_argument("--num_train", type=int, default=10_000)
    parser.add_argument("--num_test", type=int, default=2_000)
    parser.add_argument("--k", type=int, default=15)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    train, labels, test = pictures(args.data_dir, args.num_train, args.num_test)
    ours = knn(train, labels, 2, k=args.k)
    apply = jax.jit(ours.apply)
    theirs = KNeighborsClassifier(args.k, algorithm="brute", n_jobs=-1)
    theirs.fit(train.reshape(len(train), -1), labels)
    flat = test.reshape(len(test), -1)
    ours_of = lambda: np.asarray(apply(ours.params, test)).argmax(axis=1)  # noqa: E731
    theirs_of = lambda: theirs.predict(flat)  # noqa: E731
    differing = int(np.sum(ours_of() != theirs_of()))  # warms both up
    times = [(seconds(ours_of), seconds(theirs_of)) for _ in range(args.runs)]
    mine, other = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(b / a for a, b in times)
    print(f"{len(test)} against {len(train)} of {flat.shape[1]} numbers, k={args.k}")
    print(f"catdog_jax {mine:.3f} s   scikit-learn {other:.3f} s   ratio {ratio:.2f}")
    print(f"predictions that differ: {differing}")


if __name__ == "__main__":
    main()
