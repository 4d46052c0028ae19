"""Where image data is kept: the drivers, which store reads which location, and location URIs."""
