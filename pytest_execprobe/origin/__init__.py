"""Where programs come from: packages, by their databases, read as files. Nothing is executed to find out."""
