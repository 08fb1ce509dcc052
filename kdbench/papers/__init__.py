"""Figures for papers, by matplotlib: vector files of a column's width, the same bytes for the same runs."""
