"""What can go wrong, as one tree."""

from __future__ import annotations

import inspect
import pickle

import pytest

from cgjobs import errors
from cgjobs.errors import (
    BrokerDenied,
    BrokerError,
    BrokerUnavailable,
    CgjobsError,
    ConfigError,
    Fault,
    InvalidPayload,
    JobFailed,
    JobNotFound,
    JobStateError,
    ProcessorNotFound,
    QueueNotFound,
    SubtypeNotFound,
    WaitTimeout,
)

ALL = [item for _, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, Exception)]


@pytest.mark.parametrize("error", ALL)
def test_every_error_has_the_one_root(error: type[Exception]) -> None:
    assert issubclass(error, CgjobsError)


@pytest.mark.parametrize("error", [item for item in ALL if not item.__name__.startswith("_")])
def test_every_error_stands_in_the_drawing_of_the_tree(error: type[Exception]) -> None:
    assert error.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (ConfigError, ValueError),
        (InvalidPayload, ValueError),
        (QueueNotFound, LookupError),
        (ProcessorNotFound, LookupError),
        (SubtypeNotFound, LookupError),
        (JobNotFound, LookupError),
        (JobStateError, RuntimeError),
        (JobFailed, RuntimeError),
        (WaitTimeout, TimeoutError),
        (BrokerError, RuntimeError),
        (BrokerUnavailable, ConnectionError),
        (BrokerDenied, PermissionError),
    ],
)
def test_an_error_can_be_caught_as_the_fitting_builtin(error: type, builtin: type) -> None:
    assert issubclass(error, builtin)


def test_one_fault_is_told_in_one_line() -> None:
    assert str(InvalidPayload("the payload", [Fault("age", "missing")])) == "the payload: age: missing"


def test_a_fault_of_the_whole_has_no_path() -> None:
    assert str(InvalidPayload("the payload", [Fault("", "too large")])) == "the payload: too large"


def test_several_faults_have_a_line_each() -> None:
    error = InvalidPayload("the payload", [Fault("age", "missing"), Fault("name", "too long")])

    assert str(error) == "the payload: 2 faults\n  age: missing\n  name: too long"


def test_a_near_miss_is_suggested() -> None:
    error = QueueNotFound("notfication", ["cleanup", "notification"])

    assert str(error) == "no queue named 'notfication'. Did you mean 'notification'?"


def test_without_a_near_miss_the_known_names_are_told() -> None:
    assert str(QueueNotFound("zzz", ["b", "a"])) == "no queue named 'zzz'. Known: a, b."


def test_a_hint_comes_last() -> None:
    assert str(JobNotFound("a", hint="It was removed.")) == "no job named 'a'. It was removed."


def test_a_forbidden_move_says_what_the_job_is_and_what_to_do() -> None:
    error = JobStateError("a", "active", "removed", "Wait for its end first.")

    assert str(error) == "job 'a' is active and cannot be removed. Wait for its end first."


@pytest.mark.parametrize(
    "error",
    [
        InvalidPayload("the payload", [Fault("age", "missing")]),
        QueueNotFound("a", ["b"], "hint"),
        JobStateError("a", "active", "removed"),
        JobFailed("a", "failed", "ValueError: no"),
    ],
)
def test_an_error_keeps_its_facts_when_it_is_copied(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
