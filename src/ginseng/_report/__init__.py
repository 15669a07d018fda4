"""The page about labels that :func:`ginseng.report` writes."""
