"""What exists for ginseng 0.2 alone. The import paths of its documentation re-export from here."""
