"""The settings of plugins: from ``[plugins.<name>]`` and variables to the plugin's own class."""

from __future__ import annotations

import enum
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest

from cgjobs.config import Config, PluginsConfig
from cgjobs.errors import ConfigError
from cgjobs.loading import load, settings_reader

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


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Mail:
    host: str
    port: int = attrs.field(default=25, validator=attrs.validators.ge(1))
    password: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Settings:
    webhook: str = attrs.field(repr=False, validator=attrs.validators.max_len(30))
    base_url: str = "https://slack.example"
    age: timedelta | None = None
    directory: Path = Path("/srv")
    ratio: float = 0.5
    retries: int = attrs.field(default=3, validator=attrs.validators.in_([1, 2, 3]))
    strict: bool = False
    channels: Sequence[str] = ()
    sizes: frozenset[int] = frozenset()
    labels: dict[str, str] = attrs.field(factory=dict)
    ages: Mapping[str, timedelta] = attrs.field(factory=dict)
    level: Literal["low", "high"] = "low"
    colour: Colour = Colour.RED
    mail: Mail | None = None
    rules: tuple[Mail, ...] = ()
    limit: int | timedelta | None = None
    extra: Any = None


class TestSettingsOfPlugins:
    def test_a_plugin_gets_its_table_as_its_own_class(self, write: Write, tmp_path: Path) -> None:
        path = write("""
            [plugins.slack]
            webhook = "w"
            base-url = "u"
            age = "30d"
            directory = "data/backup"
            ratio = 1
            retries = 2
            strict = true
            channels = ["a", "b"]
            sizes = [1, 2]
            level = "high"
            colour = "blue"
            rules = [{host = "r", port = 5}]
            limit = "5s"
            extra = {a = [1]}
            [plugins.slack.labels]
            team-a = "x"
            [plugins.slack.ages]
            files = "1h"
            [plugins.slack.mail]
            host = "m"
        """)

        settings = settings_reader(load(path, {}))("slack", Settings)

        assert settings == Settings(
            webhook="w",
            base_url="u",
            age=timedelta(days=30),
            directory=tmp_path / "data/backup",
            ratio=1.0,
            retries=2,
            strict=True,
            channels=("a", "b"),
            sizes=frozenset({1, 2}),
            labels={"team-a": "x"},
            ages={"files": timedelta(hours=1)},
            level="high",
            colour=Colour.BLUE,
            mail=Mail("m"),
            rules=(Mail("r", 5),),
            limit=timedelta(seconds=5),
            extra={"a": [1]},
        )

    def test_variables_set_the_same_keys_and_win_over_the_file(self, write: Write, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("from-file\n")
        path = write(
            "[plugins.slack]\nbase-url = 'u'\nretries = 1\n[plugins.slack.mail]\nhost = 'm'\nport = 1"
        )
        environ = {
            "WEBHOOK_FILE": str(tmp_path / "secret"),
            "BASE_URL": "v",
            "AGE": "1h",
            "DIRECTORY": "here",
            "RETRIES": "2",
            "STRICT": "1",
            "SIZES": "1,2",
            "LABELS_TEAM": "x",
            "COLOUR": "blue",
            "MAIL_PORT": "5",
            "LIMIT": "7",
        }

        config = load(path, {f"CGJOBS_PLUGINS_SLACK_{name}": value for name, value in environ.items()})

        assert settings_reader(config)("slack", Settings) == Settings(
            webhook="from-file",
            base_url="v",
            age=timedelta(hours=1),
            directory=Path("here"),
            retries=2,
            strict=True,
            sizes=frozenset({1, 2}),
            labels={"team": "x"},
            colour=Colour.BLUE,
            mail=Mail("m", 5),
            limit=7,
        )

    def test_a_plugin_whose_name_begins_like_another_keeps_its_variables(self, write: Write) -> None:
        path = write("[plugins.slack-bot]")

        config = load(path, {"CGJOBS_PLUGINS_SLACK_BOT_WEBHOOK": "x", "CGJOBS_PLUGINS_SLACK_WEBHOOK": "y"})

        assert config.plugins.settings == {"slack-bot": {"webhook": "x"}, "slack": {"webhook": "y"}}
        assert settings_reader(config)("slack_bot", Settings) == Settings("x")

    def test_a_plugin_without_a_table_gets_its_defaults(self) -> None:
        assert settings_reader(Config())("mail", attrs.make_class("Empty", {"n": attrs.field(default=3)}))

    def test_every_fault_of_a_plugin_is_told_at_once_and_no_secret_with_it(self, write: Write) -> None:
        path = write(f"""
            [plugins.slack]
            webhook = "{CANARY}-that-is-too-long-for-its-validator"
            retries = 9
            bse_url = "x"
            ratio = "1"
            strict = "true"
            colour = "green"
            level = "hihg"
            limit = "soon"
            labels = "x"
            channels = "a,b"
            ages = {{x = 5}}
            mail = {{password = ["{CANARY}"], port = 0}}
            rules = [{{host = "h", prt = 1}}, 5]
            age = "1h"
            directory = 5
        """)
        config = load(path, {"CGJOBS_PLUGINS_SLACK_AGE": "90", "CGJOBS_PLUGINS_SLACK_LEVLE": "low"})

        with pytest.raises(ConfigError) as caught:
            settings_reader(config)("slack", Settings)

        place = "cgjobs.toml: plugins.slack."
        secret = "it is secret and not shown"
        assert CANARY not in "".join(traceback.format_exception(caught.value))
        assert {fault.path: fault.message for fault in caught.value.faults} == {
            place + "webhook": f"is refused; {secret}",
            place + "retries": "'retries' must be in [1, 2, 3] (got 9)",
            place + "bse_url": "unknown key 'bse_url'; did you mean 'base_url'?",
            place + "ratio": "'1' is not a finite number",
            place + "strict": "'true' is not a boolean; write true or false",
            place + "colour": "'green' is none of red, blue",
            place + "level": "'hihg' is none of low, high; did you mean 'high'?",
            place + "limit": (
                "'soon' is not a whole number; "
                "'soon' is not a duration; write it like 30d, 12h, 1h30m, 90s or 250ms"
            ),
            place + "labels": "is a single value, not a table",
            place + "channels": "'a,b' is not a list",
            place + "ages.x": "5 has no unit; write 5d, 5h, 5m or 5s",
            place + "mail.password": f"is no str; {secret}",
            place + "mail.port": "'port' must be >= 1: 0",
            "plugins.slack.mail.host": (
                "is required; set it in [plugins.slack.mail] or as CGJOBS_PLUGINS_SLACK_MAIL_HOST"
            ),
            place + "rules[0].prt": "unknown key 'prt'; did you mean 'port'?",
            place + "rules[1]": "is a single value, not a table",
            place + "directory": "5 is not a path; write it in quotes",
            "CGJOBS_PLUGINS_SLACK_AGE": "90 has no unit; write 90d, 90h, 90m or 90s",
            "CGJOBS_PLUGINS_SLACK_LEVLE": "unknown key 'levle'; did you mean 'level'?",
        }

    def test_a_required_setting_that_is_missing_is_told_with_the_places_to_set_it(self) -> None:
        with pytest.raises(ConfigError, match=r"webhook: is required; set it in \[plugins\.slack\]"):
            settings_reader(Config())("slack", Settings)

    @pytest.mark.usefixtures("write")
    def test_an_unreadable_secret_file_of_a_plugin_is_one_fault(self) -> None:
        config = load(environ={"CGJOBS_PLUGINS_SLACK_WEBHOOK_FILE": CANARY})

        with pytest.raises(ConfigError) as caught:
            settings_reader(config)("slack", Settings)

        assert str(caught.value) == (
            "the settings of plugin 'slack' are wrong: "
            "CGJOBS_PLUGINS_SLACK_WEBHOOK_FILE: its file cannot be read: No such file or directory"
        )

    def test_a_check_of_the_whole_class_becomes_a_fault_and_cannot_tell_a_secret(self) -> None:
        @attrs.frozen
        class Pair:
            low: int
            high: int
            token: str = attrs.field(default="", repr=False)

            def __attrs_post_init__(self) -> None:
                if self.low > self.high:
                    raise ValueError(f"low {self.low} is above high {self.high}{self.token}")

        def read(**values: object) -> str:
            config = Config(plugins=PluginsConfig(settings={"pair": values}))
            with pytest.raises(ConfigError) as caught:
                settings_reader(config)("pair", Pair)
            return str(caught.value)

        assert read(low=2, high=1).endswith("plugins.pair: low 2 is above high 1")
        assert read(low=2, high=1, token=CANARY).endswith(
            "plugins.pair: is refused; the reason contains a secret and is not shown"
        )

    def test_a_key_in_two_spellings_is_refused(self, write: Write) -> None:
        config = load(write("[plugins.slack]\nwebhook = 'x'\nbase-url = 'a'\nbase_url = 'b'"), {})

        with pytest.raises(ConfigError, match="is written twice, as 'base_url' too; keep one"):
            settings_reader(config)("slack", Settings)

    def test_a_type_that_settings_cannot_have_is_the_fault_of_the_plugin(self) -> None:
        @attrs.frozen
        class Odd:
            number: complex

        config = Config(plugins=PluginsConfig(settings={"odd": {"number": 1}}))

        with pytest.raises(TypeError, match="cannot have the type"):
            settings_reader(config)("odd", Odd)
