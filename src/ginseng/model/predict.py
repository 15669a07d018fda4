"""Import path of ginseng 0.2 for labelling cells."""

from ginseng._v02.predict import annotate_iter, classify

__all__ = ["annotate_iter", "classify"]
