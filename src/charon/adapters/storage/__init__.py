"""Files: the log of messages, the NeXus file of a scan, the picture."""
