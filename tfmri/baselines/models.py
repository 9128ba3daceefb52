"""Classical models as scikit-learn pipelines: whatever is learnt, is learnt from the training scans alone.

Scaling, filling in of what is missing, principal components and the strength of regularisation are all inside the
pipeline; the strength is chosen by cross-validation among the training subjects.
"""

from typing import Any

import numpy as np

from tfmri.evaluation.metrics import Kind

COMPONENTS = 100  # principal components, at most
TREES = 300
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
NAMES = ("ridge", "elastic net", "linear SVM", "random forest")


def fit_baseline(
    name: str, kind: Kind, features: np.ndarray, truth: np.ndarray, subjects: np.ndarray, seed: int, reduce: bool
) -> Any:
    """A fitted pipeline.

    Args:
        name: one of `NAMES`.
        kind: of the target.
        features: (n, features) of the training scans; NaN is filled in with the mean.
        truth: (n,) classes or numbers.
        subjects: (n,) whose they are: a subject never stands on two sides of the cross-validation.
        seed: of the components, the forest and the cross-validation.
        reduce: whether to take principal components first, as for voxels.
    """
    from sklearn.decomposition import PCA
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = min(5, len(np.unique(subjects)))
    smallest = len(truth) - int(np.ceil(len(truth) / folds)) if folds > 1 else len(truth)
    steps: list[Any] = [SimpleImputer(keep_empty_features=True), StandardScaler()]
    if reduce:
        steps.append(PCA(max(1, min(COMPONENTS, smallest - 1, features.shape[1])), random_state=seed))
    model, grid = _model(name, kind, seed)
    pipeline = make_pipeline(*steps, model)
    enough = folds > 1 and (kind == "regression" or np.unique(truth, return_counts=True)[1].min() >= folds)
    if not grid or not enough:
        return pipeline.fit(features, truth)
    grid = {f"{pipeline.steps[-1][0]}__{key}": values for key, values in grid.items()}
    scoring = "neg_mean_absolute_error" if kind == "regression" else "balanced_accuracy"
    inner = GroupKFold(folds, shuffle=True, random_state=seed)
    return GridSearchCV(pipeline, grid, scoring=scoring, cv=inner).fit(features, truth, groups=subjects)


def _model(name: str, kind: Kind, seed: int) -> tuple[Any, dict[str, Any]]:
    from sklearn import ensemble, linear_model, svm

    classes = kind != "regression"
    if name == "ridge":
        if classes:
            return linear_model.LogisticRegression(max_iter=5000), {"C": STRENGTHS}
        return linear_model.Ridge(), {"alpha": [1000 * each for each in STRENGTHS]}
    if name == "elastic net":
        if classes:
            mixed = linear_model.LogisticRegression(
                l1_ratio=0.5, solver="saga", max_iter=300, tol=1e-3, random_state=seed
            )
            return mixed, {"C": STRENGTHS}
        return linear_model.ElasticNet(max_iter=5000), {"alpha": STRENGTHS}
    if name == "linear SVM":
        if classes:
            return svm.SVC(kernel="linear"), {"C": STRENGTHS}
        return svm.SVR(kernel="linear"), {"C": STRENGTHS}
    forest = ensemble.RandomForestClassifier if classes else ensemble.RandomForestRegressor
    return forest(TREES, random_state=seed, n_jobs=1), {}


def probabilities(model: Any, features: np.ndarray, classes: list[str]) -> np.ndarray:
    """(n, classes); of a machine without probabilities, the softmax of its scores, which is not calibrated."""
    from scipy.special import expit, softmax

    if hasattr(model, "predict_proba"):
        found = model.predict_proba(features)
    else:
        scores = model.decision_function(features)
        found = np.stack([1 - expit(scores), expit(scores)], axis=1) if scores.ndim == 1 else softmax(scores, axis=1)
    table = np.zeros((len(features), len(classes)))
    table[:, [classes.index(name) for name in model.classes_]] = found
    return table
