"""The image cache: a directory of files that were downloaded once, in Glance's layout, and who has read them when."""
