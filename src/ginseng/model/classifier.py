from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray

from ginseng._core import registry
from ginseng._core.architecture import Architecture
from ginseng._core.keys import state_of, training_key
from ginseng._core.losses import cross_entropy
from ginseng._core.normalize import LIBRARY_SIZE, LibrarySize
from ginseng._core.process import prepare
from ginseng._core.steps import Normalization, predict_gene_weights, predict_logits
from ginseng._core.types import Params
from ginseng._repr import Card
from ginseng._settings import settings
from ginseng.model.card import n_weights


class GinsengClassifier:
    """A network with its weights, for custom training loops in JAX.

    Parameters
    ----------
    n_genes, n_classes
        Number of inputs and outputs.
    hidden_dim
        Hidden units; the architecture's default if None.
    dropout_rate
        Dropout rate in training; the architecture's default if None.
    normalize
        Whether the input is counts, which are then scaled to `target_sum` per cell and log1p-transformed.
    target_sum
        Counts per cell after scaling; the number of genes if None.
    seed
        Seed of the initial weights, and of the dropout keys that are not given.
    architecture
        Name of the network, one of `ginseng.model.architectures()`.
    config
        Other settings of the architecture.
    library_size
        Genes over which the counts of a cell are summed before scaling: all measured ones (pass the sum as `total=`) or
        those of the model.

    Attributes
    ----------
    params
        Weights and biases; can be assigned. If the new ones do not fit the network, it becomes the architecture that
        has these layers and shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from ginseng.model import GinsengClassifier
    >>> model = GinsengClassifier(n_genes=50, n_classes=3)
    >>> model.predict(np.ones((2, 50))).shape
    (2, 3)
    """

    def __init__(
        self,
        n_genes: int,
        n_classes: int,
        hidden_dim: int | None = None,
        dropout_rate: float | None = None,
        normalize: bool = True,
        target_sum: float | None = 1e4,
        seed: int = 42,
        *,
        architecture: str = "gated",
        config: dict[str, Any] | None = None,
        library_size: LibrarySize = LIBRARY_SIZE,
    ) -> None:
        prepare(settings.cache_dir)
        self.n_genes = n_genes
        self.n_classes = n_classes
        self.normalize = normalize
        self.target_sum = target_sum
        self.library_size = library_size
        self.seed = seed
        self.config = registry.given(hidden_dim=hidden_dim, dropout_rate=dropout_rate) | (config or {})
        self.network: Architecture = registry.get(architecture, self.config)
        self._key = training_key(state_of(seed))
        self._params: Params | None = None  # initialised on first access

    def _card(self) -> Card:
        counts = "counts, log-normalised within" if self.normalize else "log-normalised values"
        rows = {
            "network": self.architecture,
            "input": f"{counts}: {self.n_genes:,} genes",
            "output": f"{self.n_classes} classes",
            "settings": ", ".join(f"{n} {v}" for n, v in sorted(dataclasses.asdict(self.network).items())),
            "weights": "initialised on first use" if self._params is None else f"{n_weights(self._params):,}",
        }
        return Card("GinsengClassifier", rows)

    def __repr__(self) -> str:
        return self._card().text()

    def _repr_html_(self) -> str:
        return self._card().html()

    @property
    def architecture(self) -> str:
        """Name of the network."""
        return self.network.name

    @property
    def hidden_dim(self) -> int:
        """Hidden units."""
        return self.network.hidden_dim

    @property
    def dropout_rate(self) -> float:
        """Dropout rate in training."""
        return self.network.dropout_rate

    @property
    def params(self) -> Params:
        """Weights and biases."""
        if self._params is None:
            self._params = self.init()
        return self._params

    @params.setter
    def params(self, params: Params) -> None:
        own = registry.shapes(self.network, self.n_genes, self.n_classes)
        if jax.tree.map(jnp.shape, params) != jax.tree.map(jnp.shape, own):
            self.network = registry.recognize(params, self.n_genes, self.n_classes, self.config)
        self._params = params

    def init(self) -> Params:
        """Return the initial weights, which depend only on the seed."""
        return init_params(self.network, training_key(state_of(self.seed)), self.n_genes, self.n_classes)

    def _get_key(self) -> PRNGKeyArray:
        self._key, key = jax.random.split(self._key)
        return key

    @property
    def _normalization(self) -> Normalization:
        return Normalization(self.normalize, self.target_sum, self.library_size)

    def predict(
        self,
        x: Num[Array | np.ndarray, "B G"],
        params: Params | None = None,
        key: PRNGKeyArray | None = None,
        training: bool = False,
        return_attn: bool = False,
        *,
        total: Num[Array | np.ndarray, " B"] | None = None,
    ) -> Float[Array, "B C"] | tuple[Float[Array, "B C"], Float[Array, "B G"]]:
        """Return the logits of each cell.

        Parameters
        ----------
        x
            (cells, genes) counts, or log-normalised expression if `normalize` is False.
        params
            Weights to use instead of the model's own.
        key
            Random key of the dropout; drawn from the seed if None.
        training
            Whether to apply dropout.
        return_attn
            Whether to return the gene weights as well: (cells, genes), in (0, 1).
        total
            (cells,) counts over all measured genes, for a model that scales by them; the row sums of `x` if None.
        """
        params = self.params if params is None else params
        if training and key is None:
            key = self._get_key()
        logits = self._logits(params, x, key if training else None, total)
        if not return_attn:
            return logits
        x = jnp.asarray(x, jnp.float32)
        total = x.sum(axis=1) if total is None else jnp.asarray(total, jnp.float32)
        weights = predict_gene_weights(params, x, total, architecture=self.network, normalization=self._normalization)
        return logits, weights

    def _logits(
        self, params: Params, x: Any, key: PRNGKeyArray | None = None, total: Any = None
    ) -> Float[Array, "B C"]:
        x = jnp.asarray(x, jnp.float32)
        total = x.sum(axis=1) if total is None else jnp.asarray(total, jnp.float32)
        return predict_logits(params, x, total, key, architecture=self.network, normalization=self._normalization)

    def loss(
        self,
        params: Params,
        key: PRNGKeyArray,
        x: Num[Array | np.ndarray, "B G"],
        y: Int[Array | np.ndarray, " B"],
    ) -> Float[Array, ""]:
        """Return the mean cross-entropy of a batch with dropout."""
        return cross_entropy(self._logits(params, x, key), jnp.asarray(y))

    def evaluate(self, x: Num[Array | np.ndarray, "B G"], y: Int[Array | np.ndarray, " B"]) -> tuple[float, float]:
        """Return loss and accuracy of a batch without dropout."""
        logits = self._logits(self.params, x)
        y = jnp.asarray(y)
        return float(cross_entropy(logits, y)), float((logits.argmax(axis=1) == y).mean())


# runs once: optimise for compile time
@partial(
    jax.jit,
    static_argnames=("network", "n_genes", "n_classes"),
    compiler_options={"xla_backend_optimization_level": 0},
)
def init_params(network: Architecture, key: PRNGKeyArray, n_genes: int, n_classes: int) -> Params:
    """Initialise all parameters in one compiled call."""
    return network.init_members(key, n_genes, n_classes)
