"""What turns runs into this book's numbers and pictures. Nothing in the library below imports it; only ``__main__`` does."""
