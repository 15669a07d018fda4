"""Import path of ginseng 0.2 for network layers."""

from ginseng._v02.layers import nn_dropout, nn_init_linear, nn_linear, nn_xavier_uniform

__all__ = ["nn_dropout", "nn_init_linear", "nn_linear", "nn_xavier_uniform"]
