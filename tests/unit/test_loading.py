"""What is configured, from a file and the environment to a `Config`."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgjobs.config import Config, PluginsConfig, QueueConfig
from cgjobs.errors import ConfigError
from cgjobs.loading import MASK, Setting, load, show
from cgjobs.model import Backoff, BackoffKind, Cron

CANARY = "c4n4ry-s3cret"
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes ``cgjobs.toml`` into an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def write(text: str) -> Path:
        Path("cgjobs.toml").write_text(text, encoding="utf-8")
        return Path("cgjobs.toml")

    return write


def faults(toml: str, write: Write, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load(write(toml), environ or {})
    return {fault.path: fault.message for fault in caught.value.faults}


class TestProfiles:
    @pytest.mark.usefixtures("write")
    def test_without_a_file_and_variables_the_development_table_applies(self) -> None:
        assert load(environ={}) == Config.development()

    @pytest.mark.usefixtures("write")
    def test_the_variable_chooses_the_production_table(self) -> None:
        config = load(environ={"CGJOBS_ENV": "production", "REDIS_PASSWORD": "x"})

        assert config.redis.host == "redis.chatgenius.com"
        assert config.queues["notification"].concurrency == 10
        assert config.queues["notification"].attempts == 7

    def test_the_variable_wins_over_the_profile_in_the_file(self, write: Write) -> None:
        path = write('env = "production"')

        assert load(path, {"CGJOBS_ENV": "development"}).env == "development"

    def test_a_mistyped_profile_is_refused_with_a_suggestion(self, write: Write) -> None:
        found = faults("", write, {"CGJOBS_ENV": "prodution"})

        assert found["CGJOBS_ENV"] == (
            "'prodution' is none of development, production; did you mean 'production'?"
        )

    @pytest.mark.parametrize("toml", ["", "[redis]\npassword = ''"])
    def test_production_without_a_password_is_refused_with_the_places_to_set_it(
        self, write: Write, toml: str
    ) -> None:
        found = faults(toml, write, {"CGJOBS_ENV": "production", "REDIS_PASSWORD": ""})

        assert found == {
            "redis.password": (
                "production needs a password: set REDIS_PASSWORD, REDIS_PASSWORD_FILE or redis.password"
            )
        }

    @pytest.mark.usefixtures("write")
    @pytest.mark.parametrize(
        "environ",
        [
            {"REDIS_URL": "unix:///run/redis.sock"},
            {"CGJOBS_REDIS_SOCKET": "/run/redis.sock"},
            {"REDIS_URL": "redis://:x@h"},
        ],
    )
    def test_production_needs_no_password_on_a_socket_or_when_the_url_has_it(
        self, environ: dict[str, str]
    ) -> None:
        assert load(environ={"CGJOBS_ENV": "production", **environ}).env == "production"


class TestFiles:
    def test_a_file_changes_what_it_says_and_nothing_else(self, write: Write) -> None:
        path = write("""
            [redis]
            host = "h"
            ca-file = "ca.pem"
            [queues.notification]
            concurrency = 9
            timeout = "5m"
            backoff = {kind = "fixed", delay = "3s"}
            [queues.image-resize]
            attempts = 2
            [schedules.cleanup]
            timezone = "Europe/Berlin"
            [schedules.digest]
            cron = "@hourly"
            [worker]
            lease = "10s"
            [limits]
            payload_bytes = 1000
            [plugins]
            block = ["acme"]
            [plugins.slack]
            base-url = "x"
        """)
        default = Config.development()

        config = load(path, {})

        assert config.redis == attrs.evolve(default.redis, host="h", ca_file=Path("ca.pem").absolute())
        assert config.queues["notification"] == QueueConfig(
            "notification",
            concurrency=9,
            attempts=5,
            timeout=timedelta(minutes=5),
            backoff=Backoff.fixed(timedelta(seconds=3)),
        )
        assert config.queues["image-resize"] == QueueConfig("image-resize", attempts=2)
        assert config.queues["report"] == default.queues["report"]
        assert config.schedules["cleanup"] == Cron("0 0 * * *", "Europe/Berlin")
        assert config.schedules["digest"] == Cron("@hourly")
        assert config.worker == attrs.evolve(default.worker, lease=timedelta(seconds=10))
        assert config.limits.payload_bytes == 1000
        assert config.plugins == PluginsConfig(("acme",), {"slack": {"base-url": "x"}})

    def test_the_explicit_path_wins_over_the_variable_and_the_variable_over_the_directory(
        self, write: Write, tmp_path: Path
    ) -> None:
        write("[redis]\ndb = 1")
        named, given = tmp_path / "named.toml", tmp_path / "given.toml"
        named.write_text("[redis]\ndb = 2")
        given.write_text("[redis]\ndb = 3")
        environ = {"CGJOBS_CONFIG": str(named)}

        assert load(environ={}).redis.db == 1
        assert load(environ=environ).redis.db == 2
        assert load(given, environ).redis.db == 3

    @pytest.mark.usefixtures("write")
    def test_the_user_directory_is_the_last_place_to_look(self, tmp_path: Path) -> None:
        home = tmp_path / "config" / "cgjobs"
        home.mkdir(parents=True)
        (home / "cgjobs.toml").write_text("[redis]\ndb = 4")

        config = load(environ={})

        assert config.redis.db == 4
        assert config.origins["redis.db"] == str(home / "cgjobs.toml")

    @pytest.mark.usefixtures("write")
    def test_a_named_file_that_is_missing_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"absent\.toml.*No such file"):
            load(Path("absent.toml"), {})
        with pytest.raises(ConfigError, match=r"CGJOBS_CONFIG: .*absent\.toml.*No such file"):
            load(environ={"CGJOBS_CONFIG": "absent.toml"})

    def test_a_syntax_error_names_file_and_line(self, write: Write) -> None:
        found = faults("[redis]\nhost = ", write)

        assert "line 2" in found["cgjobs.toml"]

    def test_a_file_that_is_not_utf_8_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "cgjobs.toml"
        path.write_bytes(b'x = "\xff"')

        with pytest.raises(ConfigError, match="is not UTF-8 text"):
            load(path, {})

    @pytest.mark.parametrize("off", ["enabled = false", 'cron = "@daily"\nenabled = false'])
    @pytest.mark.parametrize("name", ["cleanup", "digest"])
    def test_a_schedule_can_be_switched_off_by_its_table(self, write: Write, name: str, off: str) -> None:
        config = load(write(f"[schedules.{name}]\n{off}"), {})

        assert name not in config.schedules
        assert config.unscheduled == {name}

    def test_queues_whose_names_differ_in_a_hyphen_are_two(self, write: Write) -> None:
        queues = load(write("[queues.a-b]\nattempts = 1\n[queues.a_b]\nattempts = 2"), {}).queues

        assert (queues["a-b"].attempts, queues["a_b"].attempts) == (1, 2)

    def test_a_schedule_can_be_switched_off_by_false(self, write: Write) -> None:
        config = load(write("[schedules]\ncleanup = false"), {})

        assert config.schedules.keys() == {"maintenance", "report"}
        assert config.unscheduled == {"cleanup"}

    def test_a_fixed_delay_raises_the_ceiling_that_nobody_set(self, write: Write) -> None:
        config = load(write('[queues.report.backoff]\nkind = "fixed"\ndelay = "2h"'), {})

        assert config.queues["report"].backoff == Backoff.fixed(timedelta(hours=2))

    def test_a_ceiling_below_the_delay_is_refused(self, write: Write) -> None:
        found = faults('[queues.report.backoff]\ndelay = "2h"\nceiling = "1h"', write)

        assert found == {"cgjobs.toml: queues.report.backoff.ceiling": "is shorter than the delay of 2h"}


class TestEnvironment:
    @pytest.mark.usefixtures("write")
    def test_the_variables_of_the_specification_say_where_redis_is(self) -> None:
        environ = {"REDIS_HOST": "h", "REDIS_PORT": "1", "REDIS_PASSWORD": "p", "REDIS_DB": "2"}

        redis = load(environ=environ | {"REDIS_USERNAME": "u"}).redis

        assert (redis.host, redis.port, redis.password, redis.db, redis.username) == ("h", 1, "p", 2, "u")

    @pytest.mark.usefixtures("write")
    def test_a_url_wins_over_the_other_redis_variables_and_its_password_is_decoded(self) -> None:
        environ = {"REDIS_URL": "rediss://u:p%40%2F@h2:7/3", "REDIS_HOST": "h", "REDIS_PASSWORD": "p"}

        redis = load(environ=environ).redis

        assert (redis.host, redis.port, redis.db, redis.username, redis.password, redis.tls) == (
            "h2", 7, 3, "u", "p@/", True,
        )  # fmt: skip

    @pytest.mark.usefixtures("write")
    def test_parts_that_a_url_does_not_have_come_from_elsewhere(self) -> None:
        redis = load(environ={"REDIS_URL": "redis://h", "REDIS_PORT": "7", "REDIS_PASSWORD": "p"}).redis

        assert (redis.host, redis.port, redis.password) == ("h", 7, "p")

    @pytest.mark.usefixtures("write")
    def test_a_url_can_name_a_socket(self) -> None:
        redis = load(environ={"REDIS_URL": "unix://:p@/run/a%20b.sock?db=2", "REDIS_HOST": "h"}).redis

        assert (redis.socket, redis.db, redis.password) == (Path("/run/a b.sock"), 2, "p")

    def test_a_host_in_the_environment_replaces_a_socket_in_the_file(self, write: Write) -> None:
        path = write('[redis]\nsocket = "/run/redis.sock"')

        assert load(path, {"REDIS_HOST": "h"}).redis.socket is None
        assert load(path, {"REDIS_URL": "redis://h"}).redis.socket is None
        assert load(path, {"REDIS_PORT": "1"}).redis.socket == Path("/run/redis.sock")

    def test_a_url_does_not_switch_off_the_tls_of_the_file(self, write: Write) -> None:
        assert load(write("[redis]\ntls = true"), {"REDIS_URL": "redis://h"}).redis.tls

    def test_the_file_may_have_a_url_too(self, write: Write) -> None:
        redis = load(write('[redis]\nurl = "redis://h:7/1"'), {"REDIS_PORT": "8"}).redis

        assert (redis.host, redis.port, redis.db) == ("h", 8, 1)

    @pytest.mark.parametrize(
        "url",
        [
            f"http://u:{CANARY}@h",
            f"redis://u:{CANARY}@h:port",
            f"redis://u:{CANARY}/x@h",
            f"redis://u:1#{CANARY}@h",
            f"redis://u:1?{CANARY}@h",
            f"redis://h/{CANARY}",
            f"redis://h?password={CANARY}",
            f"redis://[{CANARY}",
            f"{CANARY}",
            "unix://",
        ],
    )
    def test_a_wrong_url_is_refused_without_repeating_any_of_it(self, write: Write, url: str) -> None:
        with pytest.raises(ConfigError) as caught:
            load(write(""), {"REDIS_URL": url, "CGJOBS_ENV": "production"})

        assert [fault.path for fault in caught.value.faults] == ["REDIS_URL"]
        assert CANARY not in "".join(traceback.format_exception(caught.value))

    def test_a_wrong_section_is_one_fault(self, write: Write) -> None:
        assert faults("redis = 5\nqueues = 5\nschedules = 5\nplugins = 5", write, {"REDIS_HOST": "h"}) == {
            f"cgjobs.toml: {name}": "is a single value, not a table"
            for name in ("redis", "queues", "schedules", "plugins")
        }

    def test_every_key_has_a_variable_which_wins_over_the_file(self, write: Write) -> None:
        path = write("[worker]\nlease = '9s'\n[queues.image-resize]\nconcurrency = 1")

        config = load(
            path,
            {
                "CGJOBS_REDIS_TLS": "yes",
                "CGJOBS_REDIS_HOST": "ours",
                "REDIS_HOST": "theirs",
                "CGJOBS_WORKER_LEASE": "10s",
                "CGJOBS_WORKER_METRICS_PORT": "0",
                "CGJOBS_LIMITS_PAYLOAD_DEPTH": "5",
                "CGJOBS_QUEUES_NOTIFICATION_CONCURRENCY": "10",
                "CGJOBS_QUEUES_NOTIFICATION_KEEP_FAILED": "1d",
                "CGJOBS_QUEUES_REPORT_BACKOFF_KIND": "fixed",
                "CGJOBS_QUEUES_REPORT_BACKOFF_JITTER": "0.5",
                "CGJOBS_QUEUES_IMAGE_RESIZE_CONCURRENCY": "4",
                "CGJOBS_QUEUES_NEW_ONE_ATTEMPTS": "6",
                "CGJOBS_SCHEDULES_CLEANUP_CRON": "@hourly",
                "CGJOBS_SCHEDULES_REPORT_ENABLED": "no",
                "CGJOBS_PLUGINS_BLOCK": "a, b,",
                "CGJOBS_PLUGINS_SLACK_BASE_URL": "u",
                "CGJOBS_STATE_DIR": "/var/lib/cgjobs",
            },
        )

        assert config.redis.tls
        assert config.redis.host == "ours"
        assert config.worker.lease == timedelta(seconds=10)
        assert config.worker.metrics_port == 0
        assert config.limits.payload_depth == 5
        assert config.queues["notification"].concurrency == 10
        assert config.queues["notification"].keep_failed == timedelta(days=1)
        assert config.queues["report"].backoff.kind is BackoffKind.FIXED
        assert config.queues["report"].backoff.jitter == 0.5
        assert config.queues["image-resize"].concurrency == 4
        assert config.queues["new_one"].attempts == 6
        assert config.schedules["cleanup"].expression == "@hourly"
        assert config.unscheduled == {"report"}
        assert config.plugins == PluginsConfig(("a", "b"), {"slack": {"base_url": "u"}})

    @pytest.mark.usefixtures("write")
    def test_every_key_that_is_shown_can_be_set_by_its_variable(self) -> None:
        shown = [row for row in show(Config.development()) if row.value not in ("none", "")]
        environ = {f"CGJOBS_{row.key.replace('.', '_').upper()}": row.value for row in shown}

        config = load(environ=environ)

        assert config == Config.development()
        assert config.origins.keys() == {row.key for row in shown}

    @pytest.mark.usefixtures("write")
    def test_a_variable_can_name_a_file_that_has_the_value(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_bytes(b"p\n\r\n")

        config = load(environ={"REDIS_PASSWORD_FILE": str(secret), "CGJOBS_REDIS_CA_FILE": str(secret)})

        assert config.redis.password == "p\n"
        assert config.redis.ca_file == secret
        assert config.origins["redis.password"] == "environment REDIS_PASSWORD_FILE"

    def test_a_secret_file_that_cannot_be_read_is_one_fault_that_does_not_repeat_its_path(
        self, write: Write
    ) -> None:
        found = faults("", write, {"REDIS_PASSWORD_FILE": CANARY, "CGJOBS_ENV": "production"})

        assert found == {"REDIS_PASSWORD_FILE": "its file cannot be read: No such file or directory"}

    def test_a_secret_file_that_is_no_text_is_refused(self, write: Write, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"\xff")

        found = faults("", write, {"REDIS_PASSWORD_FILE": str(tmp_path / "secret")})

        assert found == {"REDIS_PASSWORD_FILE": "its file cannot be read: it is no UTF-8 text"}

    def test_a_value_and_its_file_at_once_are_refused(self, write: Write) -> None:
        found = faults("", write, {"REDIS_PASSWORD_FILE": "x", "REDIS_PASSWORD": "y"})

        assert found == {"REDIS_PASSWORD_FILE": "is set as well as REDIS_PASSWORD; unset one of them"}

    @pytest.mark.parametrize(
        ("variable", "message"),
        [
            ("CGJOBS_WORKER_LAESE", "unknown variable; did you mean 'CGJOBS_WORKER_LEASE'?"),
            (
                "CGJOBS_QUEUES_REPORT_ATTEMPT",
                "unknown variable; did you mean 'CGJOBS_QUEUES_REPORT_ATTEMPTS'?",
            ),
            ("CGJOBS_WORKER_lease", "unknown variable; did you mean 'CGJOBS_WORKER_LEASE'?"),
            ("CGJOBS_XYZ", "unknown variable; its keys are those of cgjobs.toml"),
            ("CGJOBS_PLUGINS_SLACK", "unknown variable; did you mean 'CGJOBS_PLUGINS_BLOCK'?"),
        ],
    )
    def test_an_unknown_variable_is_refused_with_a_suggestion(
        self, write: Write, variable: str, message: str
    ) -> None:
        assert faults("", write, {variable: "1"}) == {variable: message}

    def test_the_variables_of_this_process_are_read_by_default(
        self, write: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REDIS_PORT", "1234")

        assert load(write("")).redis.port == 1234


class TestFaults:
    def test_every_fault_is_told_at_once_with_its_place(self, write: Write) -> None:
        toml = """
            wroker = 1
            limits = 3
            [redis]
            port = 70000
            db = "7"
            timeout = "0s"
            [queues.notification]
            concurency = 2
            attempts = 0
            keep_failed = 90
            name = "x"
            [queues.report]
            backoff = {kind = "linear", jitter = 2.0, delay = "-1s"}
            [queues."Bad Name"]
            [schedules.cleanup]
            cron = "61 * * * *"
            timezone = "Europe/Berln"
            enabled = "yes"
            [schedules."Bad Name"]
            timezone = "???"
            [schedules.digest]
            timezone = "UTC"
            [schedules]
            report = 5
            [worker]
            lease = "10ms"
            reap_interval = "0s"
            threads = true
            metrics_host = 5
            [plugins]
            slack = 5
        """

        found = faults(
            toml,
            write,
            {
                "REDIS_PORT": "abc",
                "CGJOBS_WORKER_GRACE": "90",
                "CGJOBS_QUEUES_CLEANUP_BACKOFF_JITTER": "some",
            },
        )

        place = "cgjobs.toml: "
        cron = found.pop(place + "schedules.cleanup.cron")
        assert "61" in cron
        assert found == {
            place + "wroker": "unknown key 'wroker'; did you mean 'worker'?",
            place + "limits": "is a single value, not a table",
            "REDIS_PORT": "'abc' is not a whole number",
            place + "redis.db": "'7' is text, not a whole number; write it without quotes",
            place + "redis.timeout": "timeout is 0:00:00; it must be longer than zero",
            place + "queues.notification.concurency": (
                "unknown key 'concurency'; did you mean 'concurrency'?"
            ),
            place + "queues.notification.attempts": "attempts is 0; it must be at least 1",
            place + "queues.notification.keep_failed": "90 has no unit; write 90d, 90h, 90m or 90s",
            place + "queues.notification.name": (
                "unknown key 'name'; known: "
                "attempts, backoff, concurrency, keep_completed, keep_failed, key_concurrency, key_rate, "
                "max_length, max_running, rate, timeout"
            ),
            place + "queues.report.backoff.kind": "'linear' is none of fixed, exponential",
            place + "queues.report.backoff.jitter": "jitter is 2.0; it must be from 0 to 1",
            place + "queues.report.backoff.delay": "'-1s' is negative; a duration is zero or more",
            "CGJOBS_QUEUES_CLEANUP_BACKOFF_JITTER": "'some' is not a finite number",
            place + "queues.Bad Name": "is no name for a queue; use a-z, 0-9, _ and -",
            place + "schedules.cleanup.enabled": "'yes' is not a boolean; write true or false",
            place + "schedules.Bad Name": "is no name for a job type; use a-z, 0-9, _ and -",
            place + "schedules.Bad Name.timezone": (
                "'???' is no time zone; write an IANA name such as 'Europe/Berlin'"
            ),
            "schedules.Bad Name.cron": (
                "is required; set it in [schedules.Bad Name] or as CGJOBS_SCHEDULES_BAD NAME_CRON"
            ),
            place + "schedules.cleanup.timezone": (
                "'Europe/Berln' is no time zone; did you mean 'Europe/Berlin'?"
            ),
            "schedules.digest.cron": (
                "is required; set it in [schedules.digest] or as CGJOBS_SCHEDULES_DIGEST_CRON"
            ),
            place + "schedules.report": "is neither a table nor false",
            place + "worker.reap_interval": "reap_interval is 0:00:00; it must be longer than zero",
            place + "worker.threads": "True is not a whole number",
            place + "worker.metrics_host": "5 is not text; write it in quotes",
            "CGJOBS_WORKER_GRACE": "90 has no unit; write 90d, 90h, 90m or 90s",
            place + "plugins.slack": "is a single value, not the table of a plugin",
            place + "worker.lease": "10ms is too short; a lease is at least 1s",
        }

    @pytest.mark.parametrize(
        ("toml", "environ"),
        [
            (f"[redis]\npassword = ['{CANARY}']", {}),
            (f"[redis]\npassword = {{x = '{CANARY}'}}", {}),
            (f"[redis]\nurl = '{CANARY}'", {}),
            ("[redis]\nurl = ['x']", {}),
            (f"[redis]\npassword = '{CANARY}'\nport = 'x'", {}),
            (f"[redis]\npassword = '{CANARY}", {}),
            ("[redis]\nport = 'x'", {"REDIS_PASSWORD": CANARY}),
            ("", {"CGJOBS_REDIS_PASSWORT": CANARY}),
        ],
    )
    def test_no_error_and_no_traceback_contains_a_secret(
        self, write: Write, toml: str, environ: dict[str, str]
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            load(write(toml), environ)

        assert CANARY not in "".join(traceback.format_exception(caught.value))
        assert CANARY not in repr(caught.value)

    @given(st.dictionaries(st.text(min_size=1), st.text()), st.text(), st.text(min_size=8))
    def test_whatever_the_environment_says_it_is_a_config_or_a_config_error_without_the_password(
        self, others: dict[str, str], url: str, password: str
    ) -> None:
        environ = {f"CGJOBS_{name}": value for name, value in others.items()}
        environ |= {"REDIS_URL": url, "REDIS_PASSWORD": f"{CANARY}{password}", "CGJOBS_CONFIG": "/dev/null"}

        try:
            said = repr(load(environ=environ))
        except ConfigError as error:
            said = str(error)

        assert CANARY not in said


class TestShow:
    def test_every_setting_has_its_origin_and_no_secret_is_shown(self, write: Write) -> None:
        path = write(f"""
            [worker]
            lease = "90s"
            [schedules]
            report = false
            [plugins.slack]
            webhook = "{CANARY}"
            dsn = "{CANARY}"
            url = "amqp://u:a/{CANARY}@h/x"
            channels = ["a", "b"]
            rules = [{{api_key = "{CANARY}", size = 3}}]
            headers = {{token = "{CANARY}"}}
            [plugins.keys]
            size = 3
        """)

        rows = show(load(path, {"REDIS_PASSWORD": CANARY, "REDIS_PORT": "7"}))

        shown = {row.key: (row.value, row.origin) for row in rows}
        assert CANARY not in repr(rows)
        assert shown["env"] == ("development", "default (development)")
        assert shown["redis.password"] == (MASK, "environment REDIS_PASSWORD")
        assert shown["redis.port"] == ("7", "environment REDIS_PORT")
        assert shown["redis.username"] == ("none", "default (development)")
        assert shown["redis.tls"] == ("false", "default (development)")
        assert shown["worker.lease"] == ("1m30s", "cgjobs.toml")
        assert shown["queues.report.backoff.ceiling"] == ("1h", "default (development)")
        assert shown["schedules.cleanup.cron"] == ("0 0 * * *", "default (development)")
        assert shown["schedules.report.enabled"] == ("false", "cgjobs.toml")
        assert shown["plugins.block"] == ("", "default (development)")
        assert shown["plugins.slack.webhook"] == (MASK, "cgjobs.toml")
        assert shown["plugins.slack.url"] == (f"amqp://{MASK}@h/x", "cgjobs.toml")
        assert shown["plugins.slack.channels"] == ("a, b", "cgjobs.toml")
        assert shown["plugins.slack.rules[0].size"] == ("3", "cgjobs.toml")
        assert shown["plugins.keys.size"] == ("3", "cgjobs.toml")
        assert "queues.report.name" not in shown

    def test_a_password_that_is_not_set_is_shown_as_none(self) -> None:
        assert Setting("redis.password", "none", "default (development)") in show(Config.development())
