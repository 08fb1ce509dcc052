"""The native runner: its sources (C++17) and their build."""
