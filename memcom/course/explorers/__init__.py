"""Explorers: turn a control, see the trade-off. ipywidgets is loaded when the first one is made."""
