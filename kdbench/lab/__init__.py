"""Programs handed to whoever can run them where kdbench cannot, and their results taken in."""
