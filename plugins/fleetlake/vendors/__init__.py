"""One room per vendor: client, configuration, feeds, and how to read its answers. A room knows that vendor only."""
