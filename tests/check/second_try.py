"""A plugin of pytest: a test that fails is tried once more, on what its module's fixtures make anew.

For tests whose machine is itself emulated (docs/decisions/012). What the first try said is written into
the report, where ./check finds it and says so.
"""

import pytest
from _pytest.runner import runtestprotocol

import results


def pytest_runtest_protocol(item, nextitem):
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    failed = next((report for report in reports if report.failed), None)
    if failed is not None:
        _tear_down_module(item)
        item._initrequest()  # the fixtures of the first try are not those of the second
        item.user_properties.append((results.FIRST_TRY, failed.longreprtext))
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _tear_down_module(item):
    """What belongs to the session stays: the emulated host with what other lanes run in it."""
    item.session._setupstate.teardown_exact(item.getparent(pytest.Module).parent)
