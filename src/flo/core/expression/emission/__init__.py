"""How a typed tree becomes Python source: the frame, and the writers of each kind of node."""
