"""The call forms of the documentation, in its order: tutorial, usage page, reference."""

from __future__ import annotations

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

import ginseng as gs

mpl.use("agg")


@pytest.fixture
def files(server, tmp_path, monkeypatch):
    """Two h5ad files on the server, log-normalised in X and with counts in raw; and the current folder is empty."""
    cells = gs.datasets.pbmc68k()
    rows = np.random.default_rng(0).permutation(cells.n_obs)
    names = {}
    for name, part in {"train": rows[:450], "test": rows[450:]}.items():
        adata = cells[part].copy()
        del adata.layers["counts"]
        adata.raw = adata.copy()
        adata.X = np.log1p(adata.X.multiply(1e4 / adata.X.sum(axis=1)).tocsr())
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
        server.files[f"{name}.h5ad"] = (tmp_path / f"{name}.h5ad").read_bytes()
        names[name] = server.url(f"{name}.h5ad")
    monkeypatch.chdir(tmp_path)
    return names


@pytest.mark.usefixtures("uncalibrated")
def test_tutorial(files):
    import matplotlib.pyplot as plt
    import seaborn as sns
    from sklearn.manifold import TSNE

    import ginseng
    from ginseng.data import GinsengDataset
    from ginseng.data.io import load_model, read_adata, save_model
    from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings
    from ginseng.utils import select_hvgs

    train = read_adata(files["train"])
    test = read_adata(files["test"])

    train_counts = train.obs.cell_type.value_counts().reset_index()
    test_counts = test.obs.cell_type.value_counts().reset_index()
    merged_counts = train_counts.merge(test_counts, on="cell_type", how="outer", suffixes=("_train", "_test")).fillna(0)
    merged_counts = merged_counts.loc[(merged_counts["count_train"] > 10) & (merged_counts["count_test"] > 10)]
    train = train[train.obs.cell_type.isin(merged_counts["cell_type"])].copy()
    test = test[test.obs.cell_type.isin(merged_counts["cell_type"])].copy()
    train.layers["counts"] = train.raw.X.copy()
    test.layers["counts"] = test.raw.X.copy()

    select_hvgs(train, n_top_genes=500, layer="counts")
    assert train.var["ginseng_genes"].sum() == 500
    dataset = GinsengDataset.create("train.zarr", train, layer="counts", genes="ginseng_genes", label_key="cell_type")
    dataset = GinsengDataset("train.zarr")

    settings = GinsengClassifierTrainerSettings(
        rate=0.1,
        lam_max=None,
        lower=0,
        upper=200,
        hidden_dim=64,
        dropout_rate=0.2,
        batch_size=128,
        lr=0.001,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.01,
        normalize=True,
        target_sum=1e4,
        holdout_fraction=0.05,
        balance_train=True,
        group_level=False,
        group_mode="fraction",
        seed=123,
    )
    trainer = GinsengClassifierTrainer(dataset, settings)
    model, state = trainer.fit(epochs=40, silent=False)
    assert model.n_genes == state.n_genes == 500
    assert model.hidden_dim == 64

    ginseng.classify(state, test, layer="counts")
    assert (test.obs["ginseng_cell_type"].astype(str) == test.obs["cell_type"].astype(str)).mean() > 0.75

    annotations = test.obs[["ginseng_cell_type", "cell_type"]].astype(str)
    confusion_matrix = pd.crosstab(annotations["cell_type"], annotations["ginseng_cell_type"], normalize="index")
    cell_types = merged_counts["cell_type"].tolist()
    confusion_matrix = confusion_matrix.reindex(index=cell_types, columns=cell_types, fill_value=0)
    _, ax = plt.subplots(figsize=(5, 4))
    sns.heatmap(confusion_matrix, annot=True, fmt=".2f", cmap="cubehelix_r", ax=ax)
    plt.close("all")

    X = test[:, test.var.index.isin(state.genes)].layers["counts"].toarray()
    X = np.log1p((1e4 * X.T / X.sum(axis=1)).T)
    z = TSNE(n_components=2, random_state=123, perplexity=60.0).fit_transform(X)
    sns.scatterplot(x=z[:, 0], y=z[:, 1], hue=test.obs["ginseng_confidence"], palette="viridis", hue_norm=(0, 1))
    plt.close("all")

    before = test.obs["ginseng_cell_type"].copy()
    save_model(state, "toy_model.h5")
    loaded_state = load_model("toy_model.h5")
    np.testing.assert_array_equal(loaded_state.genes, state.genes)
    ginseng.classify("toy_model.h5", test, layer="counts")
    pd.testing.assert_series_equal(test.obs["ginseng_cell_type"], before)


@pytest.mark.usefixtures("uncalibrated")
def test_usage_page(files):
    import ginseng
    from ginseng.data import GinsengDataset
    from ginseng.data.io import load_model, read_adata, save_model
    from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings
    from ginseng.utils import select_hvgs

    counts = gs.datasets.pbmc68k()
    counts.obs["batch"] = pd.Categorical([f"b{i % 5}" for i in range(counts.n_obs)])
    counts.write_h5ad("data.h5ad")

    adata = read_adata("data.h5ad", backed="r")
    select_hvgs(adata, n_top_genes=2000 if adata.n_vars > 2000 else 300)
    assert "ginseng_genes" in adata.var

    counts.var["ginseng_genes"] = adata.var["ginseng_genes"]
    counts.write_h5ad("counts.h5ad")
    ds = GinsengDataset.create(
        path="my_dataset.zarr",
        adata="counts.h5ad",
        label_key="cell_type",
        layer="counts",
        genes="ginseng_genes",
        group_key="batch",
    )
    ds = GinsengDataset("my_dataset.zarr")
    ds.make_split(fraction=0.1, stratify_group=True)
    assert not set(ds.groups[ds.train_idx]) & set(ds.groups[ds.test_idx])

    seen = 0
    for X_batch, y_batch in ds.stream(batch_size=256, split="train", shuffle=True, balance_labels=True):
        assert X_batch.shape[1] == ds.n_genes
        assert len(X_batch) == len(y_batch)
        seen += len(y_batch)
    assert seen == len(ds.train_idx)

    trainer = GinsengClassifierTrainer(ds, GinsengClassifierTrainerSettings(seed=123))
    _, state = trainer.fit(epochs=10, silent=True)
    save_model(state, "model.h5")
    state = load_model("model.h5")
    data = read_adata("data.h5ad")
    ginseng.classify(data, state, layer="counts")
    assert "ginseng_cell_type" in data.obs
    assert "ginseng_confidence" in data.obs
    predictions = ginseng.classify(data, state, layer="counts", return_table=True)
    assert list(predictions["cell_type"]) == list(data.obs["ginseng_cell_type"])
    assert list(predictions.index) == list(data.obs_names)


def test_reference_pages(tmp_path, monkeypatch):
    """Names stand at their documented paths, and take what they are documented to take."""
    import jax

    from ginseng.model import instance, nn, predict
    from ginseng.model import state as states
    from ginseng.train import augment, logger, opt, trainer

    key = jax.random.key(0)
    x = np.random.default_rng(0).poisson(1.0, (4, 30)).astype(np.float32)
    y = np.array([0, 1, 2, 0])
    params = instance.nn_annotate_init(key, n_genes=30, n_classes=3, hidden_dim=8)
    logits, weights = instance.nn_annotate(params, key, x, return_attn=True, training=False)
    assert logits.shape == (4, 3)
    assert weights.shape == x.shape
    assert float(instance.nn_annotate_loss(params, key, x, y)) > 0
    _, total, right = instance.nn_annotate_evaluate(params, key, x, y)
    assert total == 4
    assert 0 <= int(right) <= 4
    np.testing.assert_allclose(np.expm1(instance.nn_normalize(x, target_sum=1e4)).sum(axis=1), 1e4, rtol=1e-5)

    layer = nn.nn_init_linear(key, 30, 5)
    assert nn.nn_linear(layer, x).shape == (4, 5)
    assert nn.nn_xavier_uniform(key, (30, 5)).shape == (30, 5)
    np.testing.assert_array_equal(nn.nn_dropout(key, x, 0.5, training=False), x)

    assert augment.augment_mask(key, x, rate=0.5).sum() < x.sum()
    assert augment.augment_background(key, x, lam_max=2.0).sum() > x.sum()
    assert (np.asarray(augment.augment_dropgene(key, x, lower=5, upper=6)).sum(axis=0) == 0).sum() >= 5
    assert augment.augment(key, x, rate=0.1, lam_max=0.1, lower=0, upper=2).shape == x.shape

    adam = opt.opt_init_adam(params)
    assert isinstance(adam, opt.AdamState)
    new, adam = opt.opt_adam_update(params, params, adam, lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    assert int(adam.step) == 1
    assert float(np.abs(np.asarray(new["head"]["W"]) - np.asarray(params["head"]["W"])).max()) > 0

    log = logger.GinsengLogger()
    log.update(epoch=1, train_loss=0.5, holdout_loss=0.4, holdout_accuracy=0.9)
    log.report(silent=True, flush=True)

    adata = ad.AnnData(x, obs=pd.DataFrame({"cell_type": ["a", "b", "a", "b"]}, index=list("wxyz")))
    adata.var_names = [f"gene{i}" for i in range(adata.n_vars)]
    (batch, start, end), *_ = predict.annotate_iter(adata, np.array(["gene3", "gene1", "nope"]), batch_size=4)
    np.testing.assert_array_equal(batch, np.column_stack([x[:, 3], x[:, 1], np.zeros(4)]))
    assert (start, end) == (0, 4)

    for module, names in {
        instance: ["GinsengClassifier"],
        predict: ["classify"],
        states: ["GinsengClassifierState", "classifier_from_state", "state_from_classifier_trainer"],
        trainer: ["GinsengClassifierTrainer", "GinsengClassifierTrainerSettings"],
    }.items():
        assert all(callable(getattr(module, name)) for name in names)
