"""Identifying callers by the built-in accounts."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import attrs
import bcrypt
import pytest
import pytest_twisted
from keystoneauth1.http_basic import HTTPBasicAuth
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from glancetx.access.account_files import AccountFiles
from glancetx.access.accounts import token_digest
from glancetx.access.builtin import LOOK_EVERY, QUEUE_AT_MOST, REMEMBER, BuiltinAuthenticator, parse_basic
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import ConfigurationError, NotAuthenticated, TooBusy
from glancetx.interfaces import IAuthenticator
from glancetx.runtime.threads import Threads

PASSWORD = "würfel:und \u2603"


def headers(**values: str) -> Callable[[str], str | None]:
    named = {name.replace("_", "-"): value for name, value in values.items()}
    return lambda name: named.get(name.lower())


def basic(name: str, password: str) -> str:
    """The header that keystoneauth's plugin sends."""
    sent = HTTPBasicAuth("https://127.0.0.1:9292", name, password).get_headers(cast(Any, None))
    assert sent is not None
    return str(sent["Authorization"])


class Counted(Threads):
    """Threads that count what they verify."""

    verified = 0

    async def run(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        self.verified += function.__name__ == "_matches"
        return await super().run(function, *args, **kwargs)


@attrs.frozen
class Fixture:
    files: AccountFiles
    clock: Clock
    threads: Counted
    authenticator: BuiltinAuthenticator

    async def identify(self, **values: str) -> RequestContext:
        return await self.authenticator.identify(headers(**values), "req-1")

    async def later(self, seconds: float = LOOK_EVERY) -> None:
        """Let time pass, and a look at the files end."""
        self.clock.advance(seconds)
        with pytest.raises(NotAuthenticated):
            await self.identify()
        if self.authenticator._looking is not None:
            await self.authenticator._looking.result()

    def write(self, name: str, text: str) -> None:
        path = self.files.folder / name
        path.with_suffix(".fresh").write_text(text)
        path.with_suffix(".fresh").replace(path)


@pytest_twisted.async_yield_fixture
async def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fixture]:
    from twisted.internet import reactor

    monkeypatch.setattr("glancetx.access.account_files.ROUNDS", 4)  # as cheap as bcrypt can be
    files = AccountFiles(tmp_path / "accounts")
    files.add_user("alice", PASSWORD, project="p1")
    files.add_user("root", "toor", project="admin", roles=["admin", "member", "reader"])
    threads, clock = Counted(cast(Any, reactor), "accounts", 2), Clock()
    clock.advance(time.time())
    threads.start()
    authenticator = BuiltinAuthenticator(files.folder, threads, cast(IReactorTime, clock))
    await authenticator.start()
    yield Fixture(files, clock, threads, authenticator)
    await threads.stop()


def test_the_interface_is_provided(accounts: Fixture) -> None:
    """It is an IAuthenticator whose challenge asks for UTF-8."""
    assert verifyObject(IAuthenticator, accounts.authenticator)
    assert accounts.authenticator.challenge == 'Basic realm="glancetx", charset="UTF-8"'


@pytest_twisted.ensureDeferred
async def test_keystoneauth_s_header_is_understood(accounts: Fixture) -> None:
    """What the http_basic plugin sends identifies the user, also with colons and other letters than ASCII."""
    assert await accounts.identify(authorization=basic("alice", PASSWORD)) == RequestContext(
        request_id="req-1",
        user_id="alice",
        project_id="p1",
        roles=frozenset({"member", "reader"}),
        user_domain_id="default",
        project_domain_id="default",
    )


@pytest_twisted.ensureDeferred
async def test_the_role_admin_makes_an_administrator(accounts: Fixture) -> None:
    """Unless somebody else decides."""
    assert (await accounts.identify(authorization=basic("root", "toor"))).is_admin


@pytest_twisted.ensureDeferred
async def test_a_policy_may_decide_who_is_an_administrator(accounts: Fixture) -> None:
    """The function given at the start is asked about the context."""
    clock = cast(IReactorTime, accounts.clock)
    for decide in (lambda context: context.user_id == "alice", lambda context: False):
        authenticator = BuiltinAuthenticator(accounts.files.folder, accounts.threads, clock, decide)
        for name, password in (("alice", PASSWORD), ("root", "toor")):
            context = await authenticator.identify(headers(authorization=basic(name, password)), "")
            assert context.is_admin is decide(context)


@pytest.mark.parametrize(
    "header",
    [
        basic("alice", "wrong"),
        basic("alice", ""),
        basic("", PASSWORD),
        basic("nobody", PASSWORD),
        basic("ALICE", PASSWORD),
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic YWxpY2U=",
        "Basic " + base64.b64encode(b"alice:\xff").decode(),
        "Basic " + base64.b64encode(b"alice:" + b"x" * 10000).decode(),
        "Basic \u2603",
        "Bearer abc",
        "Digest username=alice",
    ],
)
@pytest_twisted.ensureDeferred
async def test_wrong_credentials_are_refused(accounts: Fixture, header: str) -> None:
    """Whatever is wrong, the answer is the same."""
    with pytest.raises(NotAuthenticated) as caught:
        await accounts.identify(authorization=header)
    assert caught.value.challenge == accounts.authenticator.challenge
    assert str(caught.value) == "The request you have made requires authentication."


@pytest_twisted.ensureDeferred
async def test_a_right_password_is_verified_once(accounts: Fixture) -> None:
    """Repeated requests cost no bcrypt, until the memory ends."""
    for _ in range(5):
        await accounts.identify(authorization=basic("alice", PASSWORD))
    assert accounts.threads.verified == 1
    accounts.clock.advance(REMEMBER + 1)
    await accounts.identify(authorization=basic("alice", PASSWORD))
    assert accounts.threads.verified == 2


@pytest_twisted.ensureDeferred
async def test_a_remembered_caller_waits_for_nothing(accounts: Fixture) -> None:
    """The answer is there at once, without a turn of the reactor."""
    header = headers(authorization=basic("alice", PASSWORD))
    await accounts.authenticator.identify(header, "")
    deferred = ensureDeferred(accounts.authenticator.identify(header, "req-2"))
    assert deferred.called
    assert (await deferred).request_id == "req-2"


@pytest_twisted.ensureDeferred
async def test_a_wrong_password_costs_bcrypt_each_time(accounts: Fixture) -> None:
    """Failures are not remembered, and unknown names cost the same work."""
    for header in [basic("alice", "wrong")] * 3 + [basic("nobody", "wrong")] * 3:
        with pytest.raises(NotAuthenticated):
            await accounts.identify(authorization=header)
    assert accounts.threads.verified == 6


@pytest_twisted.ensureDeferred
async def test_unknown_names_are_as_dear_as_known_ones(accounts: Fixture) -> None:
    """An unknown name costs as many rounds as some known user's, and always the same."""
    hashes = {"a": bcrypt.hashpw(b"x", bcrypt.gensalt(4)), "b": bcrypt.hashpw(b"x", bcrypt.gensalt(5))}
    decoy = accounts.authenticator._decoy
    costs = {name: decoy(hashes, name)[4:6] for name in map(str, range(40))}
    assert set(costs.values()) == {b"04", b"05"}
    assert costs == {name: decoy(hashes, name)[4:6] for name in costs}
    assert bcrypt.checkpw(b"x", decoy(hashes, "c")) is False


@pytest_twisted.ensureDeferred
async def test_equal_credentials_at_once_are_verified_once(accounts: Fixture) -> None:
    """A client that opens ten connections costs one bcrypt; one that leaves does not spoil it for the others."""
    header = headers(authorization=basic("alice", PASSWORD))
    callers = [ensureDeferred(accounts.authenticator.identify(header, str(n))) for n in range(10)]
    callers[0].addErrback(lambda failure: None)
    callers[0].cancel()
    assert [(await caller).request_id for caller in callers[1:]] == [str(n) for n in range(1, 10)]
    assert accounts.threads.verified == 1


@pytest_twisted.ensureDeferred
async def test_too_many_guesses_at_once_are_turned_away(accounts: Fixture) -> None:
    """The queue is bounded; those who are known already get in all the same."""
    known = headers(authorization=basic("alice", PASSWORD))
    await accounts.authenticator.identify(known, "")
    outcomes: list[Deferred[Any]] = []
    for number in range(QUEUE_AT_MOST + 10):
        guess = headers(authorization=basic("alice", f"guess {number}"))
        outcomes.append(ensureDeferred(accounts.authenticator.identify(guess, "")).addErrback(lambda f: f.type))
    await accounts.authenticator.identify(known, "")
    kinds = [await outcome for outcome in outcomes]
    assert kinds.count(TooBusy) == 10 - accounts.threads.size
    assert kinds.count(NotAuthenticated) == QUEUE_AT_MOST + accounts.threads.size


@pytest_twisted.ensureDeferred
async def test_a_long_password_counts_as_htpasswd_counts_it(accounts: Fixture) -> None:
    """``htpasswd -B`` reads 72 bytes of a password, so no more are compared, and none is an error."""
    hashed = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4, prefix=b"2b")).decode().replace("$2b$", "$2y$")
    accounts.write("htpasswd", f"carol:{hashed}\n")
    await accounts.later(10)
    assert (await accounts.identify(authorization=basic("carol", "x" * 80))).project_id == "carol"


@pytest_twisted.ensureDeferred
async def test_a_token_identifies_its_user(accounts: Fixture) -> None:
    """X-Auth-Token holds it; it goes on in the context, which does not show it."""
    token = accounts.files.add_token("alice")
    await accounts.later()
    context = await accounts.identify(x_auth_token=token)
    assert (context.user_id, context.project_id, context.token) == ("alice", "p1", token)
    assert token not in repr(context)


@pytest.mark.parametrize("token", ["", "gtx_wrong", token_digest("x"), "\u2603"])
@pytest_twisted.ensureDeferred
async def test_a_wrong_token_is_refused(accounts: Fixture, token: str) -> None:
    """Nor does the digest in the file serve as a token."""
    with pytest.raises(NotAuthenticated):
        await accounts.identify(x_auth_token=token)


@pytest_twisted.ensureDeferred
async def test_a_token_ends(accounts: Fixture) -> None:
    """At its expiry, and not before."""
    token = accounts.files.add_token("alice", expires_at=accounts.clock.seconds() + 60)
    await accounts.later()
    await accounts.identify(x_auth_token=token)
    accounts.clock.advance(60)
    with pytest.raises(NotAuthenticated):
        await accounts.identify(x_auth_token=token)


@pytest_twisted.ensureDeferred
async def test_a_token_whose_user_is_gone_is_refused(accounts: Fixture) -> None:
    """Also if its line was left in the file by hand."""
    accounts.write("tokens", f"{token_digest('t')} eve\n")
    await accounts.later()
    with pytest.raises(NotAuthenticated):
        await accounts.identify(x_auth_token="t")


@pytest_twisted.ensureDeferred
async def test_the_password_counts_if_both_are_there(accounts: Fixture) -> None:
    """A wrong password is not saved by a right token."""
    token = accounts.files.add_token("alice")
    await accounts.later()
    both = await accounts.identify(x_auth_token=token, authorization=basic("root", "toor"))
    assert (both.user_id, both.token) == ("root", None)
    with pytest.raises(NotAuthenticated):
        await accounts.identify(x_auth_token=token, authorization=basic("root", "wrong"))


@pytest_twisted.ensureDeferred
async def test_changed_accounts_count_within_a_second(accounts: Fixture) -> None:
    """A new password replaces the remembered one; new users get in; removed ones do not."""
    await accounts.identify(authorization=basic("alice", PASSWORD))
    await accounts.identify(authorization=basic("root", "toor"))
    accounts.files.set_password("alice", "new")
    accounts.files.remove_user("root")
    accounts.files.add_user("dave", "d")
    await accounts.later()
    for name, password in (("alice", PASSWORD), ("root", "toor")):
        with pytest.raises(NotAuthenticated):
            await accounts.identify(authorization=basic(name, password))
    for name, password in (("alice", "new"), ("dave", "d")):
        assert (await accounts.identify(authorization=basic(name, password))).user_id == name


@pytest_twisted.ensureDeferred
async def test_new_accounts_may_be_used_at_once(accounts: Fixture) -> None:
    """Who is unknown is looked for in the present files before being turned away."""
    accounts.clock.advance(LOOK_EVERY / 100)
    with pytest.raises(NotAuthenticated):
        await accounts.identify(x_auth_token="nobody's")
    accounts.clock.advance(LOOK_EVERY / 100)
    accounts.files.add_user("carol", "secret")
    assert (await accounts.identify(authorization=basic("carol", "secret"))).user_id == "carol"
    accounts.clock.advance(LOOK_EVERY / 100)
    token = accounts.files.add_token("carol")
    assert (await accounts.identify(x_auth_token=token)).user_id == "carol"


@pytest_twisted.ensureDeferred
async def test_after_a_pause_the_files_are_looked_at_first(accounts: Fixture) -> None:
    """A token that was revoked while nothing happened does not get in once more."""
    token = accounts.files.add_token("alice")
    await accounts.later()
    await accounts.identify(x_auth_token=token)
    accounts.files.remove_token(token_digest(token)[:12])
    accounts.clock.advance(3600)
    with pytest.raises(NotAuthenticated):
        await accounts.identify(x_auth_token=token)


@pytest_twisted.ensureDeferred
async def test_a_user_removed_during_the_verification_is_refused(accounts: Fixture) -> None:
    """The verification is repeated with the new accounts."""
    await accounts.later()
    caller = ensureDeferred(accounts.authenticator.identify(headers(authorization=basic("alice", PASSWORD)), ""))
    accounts.authenticator._seen = attrs.evolve(
        accounts.authenticator._seen, accounts=attrs.evolve(accounts.files.read(), passwords={}, users={})
    )
    with pytest.raises(NotAuthenticated):
        await caller
    assert accounts.threads.verified == 2


@pytest.mark.parametrize(("name", "text"), [("htpasswd", "alice:secret"), ("users.yaml", "["), ("tokens", "x y")])
@pytest_twisted.ensureDeferred
async def test_a_broken_file_keeps_the_accounts(accounts: Fixture, name: str, text: str) -> None:
    """It is reported once; callers get in as before; repaired, it counts."""
    good = (accounts.files.folder / name).read_text() if name != "tokens" else ""
    accounts.write(name, text)
    with capturedLogs() as logs:
        for _ in range(3):
            await accounts.later()
    assert [event["log_level"].name for event in logs] == ["error"]
    assert "secret" not in repr(logs)
    assert (await accounts.identify(authorization=basic("alice", PASSWORD))).user_id == "alice"
    accounts.write(name, good)
    accounts.files.add_user("dave", "d")
    await accounts.later()
    assert (await accounts.identify(authorization=basic("dave", "d"))).user_id == "dave"


@pytest_twisted.ensureDeferred
async def test_broken_files_prevent_the_start(accounts: Fixture) -> None:
    """A service does not start with accounts it cannot read."""
    accounts.write("users.yaml", "[")
    authenticator = BuiltinAuthenticator(accounts.files.folder, accounts.threads, cast(IReactorTime, accounts.clock))
    with pytest.raises(ConfigurationError, match=r"users\.yaml"):
        await authenticator.start()


@pytest_twisted.ensureDeferred
async def test_no_secret_is_shown_or_logged(accounts: Fixture) -> None:
    """Neither a log event nor the authenticator's own text has a password, a hash or a token."""
    token = accounts.files.add_token("alice")
    with capturedLogs() as logs:
        await accounts.later()
        await accounts.identify(authorization=basic("alice", PASSWORD))
        await accounts.identify(x_auth_token=token)
        with pytest.raises(NotAuthenticated):
            await accounts.identify(authorization=basic("alice", "a wrong secret"))
    shown = repr(logs) + repr(accounts.authenticator) + repr(accounts.authenticator._seen)
    for secret in (PASSWORD, token, token_digest(token), "a wrong secret", "$2b$"):
        assert secret not in shown


def test_basic_credentials_are_parsed() -> None:
    """The scheme is read in any case; a password may hold colons."""
    assert parse_basic("bAsIc  " + base64.b64encode(b"a:b:c").decode()) == ("a", b"b:c")
    assert parse_basic("Basic " + base64.b64encode(b"a").decode()) is None
