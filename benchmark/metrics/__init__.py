"""How good a student is (`exam`), and how good images are (`image_quality`)."""
