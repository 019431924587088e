"""Run the notebooks, check them, and write their pages."""
