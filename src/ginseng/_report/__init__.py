"""The HTML report that :func:`ginseng.report` writes."""
