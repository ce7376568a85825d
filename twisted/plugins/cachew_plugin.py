"""Tells ``twistd`` about its ``cachew`` command.

This directory has no ``__init__.py`` on purpose: with one it would hide Twisted's own plugins.
"""

from twisted.application.service import ServiceMaker

cachew = ServiceMaker("cachew", "cachew.tap", "A git caching server.", "cachew")
