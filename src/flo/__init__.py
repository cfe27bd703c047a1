"""FLO: the layer that decides, beside the engines that do."""

__version__ = "0.1.0"
