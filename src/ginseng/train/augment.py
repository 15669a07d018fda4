"""Import path of ginseng 0.2 for training noise."""

from ginseng._v02.augment import augment, augment_background, augment_dropgene, augment_mask

__all__ = ["augment", "augment_background", "augment_dropgene", "augment_mask"]
