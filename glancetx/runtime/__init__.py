"""What every room needs and none is about: time, threads, undoing, logs."""
