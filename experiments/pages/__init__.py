"""Pages, tables and pictures generated from the committed results; see ``__main__``."""
