"""Lowering: from a network to a program, and the proof that the program is still the network."""
