"""Files: the patch log, the NeXus file of a scan, the picture of its image."""
