"""What others have published, as data: figures to stand beside ours, and the papers to cite."""
