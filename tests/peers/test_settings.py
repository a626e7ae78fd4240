"""What is wrong with a destination is said in one line, before anything is sent."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
from synthetic_packets import destination

from l1db.alert.transports.open import check, open_sender, probe
from l1db.errors import InputError

GOOD: dict[str, tuple[str, dict[str, Any]]] = {
    "vtp": ("voevent", {"host": "broker.example"}),
    "kafka": ("l1db", {"bootstrap_servers": "a.example:9092, b.example:9092", "topic": "alerts"}),
    "webhook": ("l1db", {"url": "https://hook.example/x?y=1"}),
    "email": ("voevent", {"host": "mail.example", "sender": "L1 <l1@example.org>", "recipients": ["a@example.org"]}),
    "file": ("lsst-11.1", {"directory": "/archive"}),
}


@pytest.mark.parametrize("kind", GOOD)
def test_usable_destinations_pass(kind: str) -> None:
    format, settings = GOOD[kind]
    check(destination(kind, format, **settings))


BAD = [
    ("vtp", {"prot": 8098}, "unknown setting prot: did you mean port?"),
    ("vtp", {"colour": 1}, "unknown setting colour: vtp knows host, port, connections, timeout_s"),
    ("vtp", {"host": None}, "setting host is missing"),
    ("vtp", {"host": ""}, "setting host is empty"),
    ("vtp", {"host": "http://broker.example"}, "setting host is a name or an address"),
    ("vtp", {"host": "broker.example:8098"}, "setting host is a name or an address"),
    ("vtp", {"port": "8098"}, "setting port is a whole number, not '8098'"),
    ("vtp", {"port": True}, "setting port is a whole number, not True"),
    ("vtp", {"port": 70000}, "setting port is between 1 and 65535, not 70000"),
    ("vtp", {"connections": 0}, "setting connections is between 1 and 64"),
    ("vtp", {"timeout_s": 0}, "setting timeout_s is between"),
    ("kafka", {"topic": "with space"}, "'with space' is no name of a topic"),
    ("kafka", {"bootstrap_servers": "a.example"}, "bootstrap_servers is host:port"),
    ("kafka", {"config": {"acks": "0"}}, "config: acks cannot be set here, it is l1db's own"),
    ("kafka", {"config": {"delivery.report.only.error": True}}, "config: delivery.report.only.error cannot be set"),
    (
        "kafka",
        {"config": {"message.timeout.ms": 1}},
        "config: message.timeout.ms cannot be set here, it is setting timeout_s",
    ),
    ("kafka", {"config": {"sasl.password": "x"}}, "config: sasl.password is a secret"),
    ("kafka", {"config": {"sasl.password_env": "L1DB_TEST_UNSET"}}, "environment variable L1DB_TEST_UNSET is not set"),
    ("kafka", {"config": {"no.such.thing": 1}}, 'config: No such configuration property: "no.such.thing"'),
    ("kafka", {"config": {"compression.type": "rar"}}, "config: Invalid value"),
    ("webhook", {"url": "ftp://hook.example"}, "setting url is http://host"),
    ("webhook", {"url": "hook.example"}, "setting url is http://host"),
    ("webhook", {"url": "https://hook.example:99999/"}, "setting url is http://host"),
    ("webhook", {"url": "https://me:word@hook.example/"}, "holds a user or a password"),
    ("webhook", {"secret_env": "L1DB_TEST_UNSET"}, "environment variable L1DB_TEST_UNSET is not set"),
    ("webhook", {"secret": "x"}, "unknown setting secret: did you mean secret_env?"),
    ("webhook", {"headers": {"Authorization": "Bearer x"}}, "looks like a secret"),
    ("webhook", {"headers": {"X-L1db-Alert": "1"}}, "header X-L1db-Alert is l1db's own"),
    ("webhook", {"headers": {"X-A": "1\r\nX-B: 2"}}, "characters that a header cannot have"),
    ("webhook", {"headers": {"X A": "1"}}, "'X A' is no name of a header"),
    ("webhook", {"headers": {"X-A": 1}}, "an object whose values are texts"),
    ("email", {"recipients": []}, "setting recipients is empty"),
    ("email", {"recipients": "a@example.org"}, "setting recipients is a list of texts"),
    ("email", {"recipients": ["nobody"]}, "'nobody' is no address"),
    ("email", {"recipients": ["a@example.org\nBcc: b@example.org"]}, "cannot be printed"),
    ("email", {"subject_prefix": "a\nb"}, "cannot be printed"),
    ("email", {"user": "l1db"}, "user and password_env go together"),
    ("email", {"password": "x"}, "unknown setting password: did you mean password_env?"),
    ("file", {"directory": "here"}, "setting directory is a path from the root"),
]


@pytest.mark.parametrize(("kind", "change", "why"), BAD)
def test_unusable_setting_is_named(
    kind: str, change: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("L1DB_TEST_UNSET", raising=False)
    format, settings = GOOD[kind]
    bad = destination(kind, format, name="my-broker", **(settings | change))
    for refuse in (check, open_sender, probe):
        with pytest.raises(InputError) as error:
            refuse(bad)
        assert str(error.value).startswith("destination my-broker: ")
        assert why in str(error.value)
        assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("kind", "format", "why"),
    [
        ("vtp", "l1db", "vtp takes format voevent, not l1db"),
        ("file", "voevent", "file takes format lsst-11.1 or l1db, not voevent"),
        ("webhook", "json", "webhook takes format lsst-11.1 or l1db or voevent, not json"),
        ("kafak", "l1db", "unknown kind kafak: did you mean kafka?"),
        ("pigeon", "l1db", "unknown kind pigeon: there are vtp, kafka, webhook, email, file"),
    ],
)
def test_kind_and_format_go_together(kind: str, format: str, why: str) -> None:
    _, settings = GOOD.get(kind, ("", {}))
    with pytest.raises(InputError, match=why):
        check(destination(kind, format, **settings))


def test_secret_written_where_its_name_belongs_is_not_repeated() -> None:
    format, settings = GOOD["webhook"]
    with pytest.raises(InputError) as error:
        check(destination("webhook", format, **settings, secret_env="hunter2 is my password"))
    assert "hunter2" not in str(error.value)


def test_missing_kafka_client_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "confluent_kafka":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    format, settings = GOOD["kafka"]
    with pytest.raises(InputError, match=r"pip install 'l1db\[kafka\]'"):
        check(destination("kafka", format, **settings))
