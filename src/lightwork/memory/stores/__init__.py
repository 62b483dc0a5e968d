"""Where entries lie. `local` is a folder of one's own file system or of the network's."""
