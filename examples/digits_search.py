"""Sixty ways to read handwritten digits: a parallel loop around a function that remembers.

    python examples/digits_search.py

The images come with scikit-learn. Rolled by up to two pixels they make 9.6 MB, which all fits share. The
search runs twice, each time in a fresh process, with one cache folder that starts empty: the first run
computes, the second finds everything. The best model is then kept in a file, mapped back, and tried on
images that it never saw.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GroupKFold, ParameterGrid, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from lightwork import Memory, Parallel, cpu_count, delayed, dump, load

HELD_OUT = 360
ROLLS = [(down, right) for down in range(-2, 3) for right in range(-2, 3) if abs(down) + abs(right) <= 2]

CANDIDATES = [
    (SVC(C=10), {"gamma": [0.1, 0.2]}),
    (KNeighborsClassifier(), {"n_neighbors": [1, 2, 3, 4, 5, 7, 9, 12], "weights": ["uniform", "distance"]}),
    (ExtraTreesClassifier(30, random_state=0), {"max_features": [4, 8, 16], "max_depth": [8, 12, 16, 24]}),
    (RandomForestClassifier(30, random_state=0), {"max_features": [4, 8, 16], "max_depth": [8, 12, 16]}),
    (QuadraticDiscriminantAnalysis(), {"reg_param": [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8]}),
    (LogisticRegression(tol=0.01), {"C": [0.01, 0.1, 1, 10, 100, 1000]}),
    (RidgeClassifier(), {"alpha": [0.01, 0.1, 1, 10, 100, 1000, 10_000]}),
]

memory = Memory(verbose=0)  # in the user's cache folder, or where LIGHTWORK_CACHE_DIR says


@memory.cache
def fit(model, images, labels, groups):
    """Cross-validate one model; the rolled copies of an image are never on both sides of a split."""
    scores = cross_val_score(model, images, labels, groups=groups, cv=GroupKFold(3))
    return {"accuracy": scores.mean(), "computed at": time.time()}


def models(fits):
    chosen = [(model, options) for model, grid in CANDIDATES for options in ParameterGrid(grid)]
    return [clone(model).set_params(**options) for model, options in chosen[-fits:]]


def data():
    """The training set (rolled images, their digits, the image each is a copy of), and the test set."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.images))
    test, train = order[:HELD_OUT], order[HELD_OUT:]
    pixels = digits.images / 16
    images = np.concatenate([np.roll(pixels[train], roll, axis=(1, 2)) for roll in ROLLS]).reshape(-1, 64)
    copies = len(ROLLS)
    training = images, np.tile(digits.target[train], copies), np.tile(train, copies)
    return training, (pixels[test].reshape(-1, 64), digits.target[test])


def search(fits):
    """The loop. A result from the cache still says when it was computed: before this run began."""
    training, _ = data()
    began = time.time()
    results = Parallel(n_jobs=-1, progress=True)(delayed(fit)(model, *training) for model in models(fits))
    return {
        "loop": time.time() - began,
        "computed": sum(result["computed at"] >= began for result in results),
        "accuracies": [result["accuracy"] for result in results],
    }


def search_in_fresh_process(cache, fits):
    began = time.perf_counter()
    command = [sys.executable, __file__, "--search", "--fits", str(fits)]
    env = {**os.environ, "LIGHTWORK_CACHE_DIR": str(cache)}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout) | {"process": time.perf_counter() - began}


def keep_and_try(model, file):
    """Train the best model on all training images, keep it, and use what comes back from the file."""
    (images, labels, _), (unseen, truth) = data()
    dump(model.fit(images, labels), file)
    began = time.perf_counter()
    mapped = load(file, mmap_mode="r")
    return time.perf_counter() - began, np.mean(mapped.predict(unseen) == truth)


def megabytes(*paths):
    return f"{sum(path.stat().st_size for path in paths) / 1e6:.2f} MB"


def main(fits, folder):
    images = data()[0][0]
    size = f"{len(images):,} images ({images.nbytes / 1e6:.1f} MB)"
    print(f"{fits} fits, each cross-validated on {size}, {cpu_count()} workers\n", flush=True)
    cache, file = folder / "cache", folder / "best-digits-model"
    runs = {name: search_in_fresh_process(cache, fits) for name in ("first run", "second run")}
    accuracies = runs["first run"]["accuracies"]
    best = int(np.argmax(accuracies))
    seconds, accuracy = keep_and_try(models(fits)[best], file)
    entries = [path for path in cache.rglob("*") if path.is_file()]

    print(f"{'':12}{'loop':>10}{'whole process':>16}{'computed':>11}{'from the cache':>17}")
    for name, run in runs.items():
        times = f"{run['loop']:8.2f} s{run['process']:14.2f} s"
        print(f"{name:12}{times}{run['computed']:11}{fits - run['computed']:17}")
    print(f"\nsame results  {runs['second run']['accuracies'] == accuracies}")
    print("best model   ", *str(models(fits)[best]).split())
    print(f"accuracy      {accuracies[best]:.3f} cross-validated, {accuracy:.3f} on {HELD_OUT} unseen images")
    print(f"on disk       cache {megabytes(*entries)} in {len(entries)} files, model {megabytes(file)}")
    print(f"model mapped  in {seconds * 1e3:.1f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fits", type=int, default=60, help="run only the last so many of the 60 fits")
    parser.add_argument("--search", action="store_true", help="run the loop once; used for the two runs")
    options = parser.parse_args()
    if options.search:
        print(json.dumps(search(options.fits)))
    else:
        with tempfile.TemporaryDirectory(prefix="lightwork-digits-") as fresh:
            main(options.fits, Path(fresh))
