"""HTTP/1.1 itself, with bodies streamed both ways; knows no git and nothing of this server."""
