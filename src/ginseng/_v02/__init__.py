"""Code kept only for ginseng 0.2; its documented import paths re-export from here."""
