"""scikit-learn with our loops in the place of joblib's: the results of a plain loop, whatever it sends along."""

import os
import subprocess
import sys

import pytest

from lightwork.workers.limits import THREAD_VARIABLES

pytest.importorskip("sklearn")
pytest.importorskip("joblib")

PROGRAM = """
import sys, warnings
import joblib
import lightwork
for name in ("Parallel", "delayed", "effective_n_jobs", "parallel_backend", "dump", "load", "hash", "Memory"):
    setattr(joblib, name, getattr(lightwork, name))
import numpy as np
import sklearn
from sklearn.base import BaseEstimator
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.parallel import Parallel, delayed
assert issubclass(Parallel, lightwork.Parallel)

folder = sys.argv[1]
X, y = make_classification(9000, 12, random_state=0)
some = slice(0, 300)

# A search whose models have loops of their own, with a memory that both workers write to.
def search(n_jobs, memory=None):
    forest = RandomForestClassifier(4, random_state=0, n_jobs=n_jobs)
    steps = make_pipeline(StandardScaler(), forest, memory=memory)
    grid = {"randomforestclassifier__max_depth": [1, 3], "standardscaler__with_std": [True, False]}
    return GridSearchCV(steps, grid, cv=2, n_jobs=n_jobs).fit(X[some], y[some])

plain = search(1)
for memory in (None, lightwork.Memory(folder, verbose=0)):
    found = search(2, memory)
    assert found.cv_results_["params"] == plain.cv_results_["params"]
    assert np.array_equal(found.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"])
lightwork.dump(found, folder + "/model")
# Its trees are added up as they come, so the last digits are not always the same.
assert np.allclose(lightwork.load(folder + "/model").predict_proba(X), plain.predict_proba(X))

# Data that lies in a file, behind other data.
lightwork.dump((y[:, None] * np.ones(9), X, y), folder + "/data")
_, mapped, targets = lightwork.load(folder + "/data", mmap_mode="r")
told = cross_val_predict(LogisticRegression(), mapped, targets, cv=2, n_jobs=2, method="predict_proba")
assert np.allclose(told, cross_val_predict(LogisticRegression(), X, y, cv=2, method="predict_proba"))

# A forest divides its trees by `effective_n_jobs`, and asks for threads.
with lightwork.parallel_backend("threads", n_jobs=2):
    assert lightwork.effective_n_jobs(None) == 2
    forest = RandomForestClassifier(6, random_state=0).fit(X[some], y[some])
assert np.array_equal(
    forest.predict_proba(X), RandomForestClassifier(6, random_state=0).fit(X[some], y[some]).predict_proba(X)
)

# Configuration, filters and the share of the cores.
def inside():
    from threadpoolctl import threadpool_info
    import scipy.linalg
    warnings.warn("not heard", FutureWarning)
    return sklearn.get_config()["working_memory"], {pool["num_threads"] for pool in threadpool_info()}

with warnings.catch_warnings(), sklearn.config_context(working_memory=77):
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", (FutureWarning, DeprecationWarning))
    share = max(1, lightwork.cpu_count() // 2)
    assert Parallel(n_jobs=2)(delayed(inside)() for _ in range(4)) == [(77, {share})] * 4
print("as in a plain loop")
"""


@pytest.mark.slow
def test_models_are_those_of_a_plain_loop(tmp_path):
    variables = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    command = [sys.executable, "-c", PROGRAM, tmp_path]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout == "as in a plain loop\n", done.stderr
    assert done.stderr == ""
