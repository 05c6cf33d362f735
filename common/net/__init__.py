"""Greenlets, sockets, zerorpc and Redis."""
