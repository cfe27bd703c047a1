"""Worker processes: one shard each, driven by the process that has the engines, the views and the faces."""
