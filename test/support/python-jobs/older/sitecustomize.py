# Celery 4 runs on the Python of the newer job systems, with what Python has removed since then.
import importlib
import importlib.metadata
import inspect
import logging
import sys
import types

inspect.formatargspec = inspect.formatargvalues
inspect.getargspec = inspect.getfullargspec
logging._acquireLock = logging._lock.acquire
logging._releaseLock = logging._lock.release
sys.modules["imp"] = types.SimpleNamespace(reload=importlib.reload)
importlib.metadata.EntryPoints.get = lambda self, group, _: self.select(group=group)
