"""The specifications of the committed sweeps, their results, and what is claimed of them."""
