"""A process and everything that it has started: found wherever it went, and never mistaken for somebody else's."""

import os
import subprocess
import sys

import psutil
import pytest
from probe_service import all_gone

from marketday.service.tree import Tree

# Starts a child that leaves for a session of its own, tells its id, and waits, or ends if it is told to.
FAMILY = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def family():
    root = subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    child = int(root.stdout.readline())
    yield root, child
    for pid in (root.pid, child):
        if psutil.pid_exists(pid):
            os.kill(pid, 9)
    end(root)


def end(root):
    root.stdin.close()
    root.wait()


def test_it_is_ended_with_what_left_its_session(family):
    root, child = family
    tree = Tree(root.pid)
    tree.look()
    assert {root.pid, child} <= tree.pids
    assert tree.kill(10) == set()
    assert all_gone([root.pid, child])


def test_what_was_seen_once_is_ended_though_its_parent_is_gone(family):
    root, child = family
    tree = Tree(root.pid)
    tree.look()
    end(root)
    assert psutil.pid_exists(child)
    assert tree.kill(10) == set()
    assert all_gone([child])


def test_the_root_can_stay_behind_alone(family):
    root, child = family
    Tree(root.pid).kill_descendants()
    assert all_gone([child])
    assert root.poll() is None


def test_a_later_process_with_the_same_id_is_left_alone(family):
    root, child = family
    tree = Tree(root.pid)
    (earlier,) = tree._known
    earlier._ident = (root.pid, 0.0)
    assert tree.kill(10) == set()
    assert root.poll() is None
    assert psutil.pid_exists(child)


def test_a_process_that_has_ended_already_leaves_nothing_to_end(family):
    root, _ = family
    end(root)
    assert Tree(root.pid).kill(10) == set()
