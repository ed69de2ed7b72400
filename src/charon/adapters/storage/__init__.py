"""Read and write the files of a run: the patch log, the NeXus file of a scan, the picture of its image."""
