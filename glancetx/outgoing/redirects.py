"""Requests that are sent on: where each redirection leads is judged like the first URL."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import urljoin

from attrs import frozen

from glancetx.domain.addresses import FetchRules, Target
from glancetx.outgoing.answers import NoAnswer
from glancetx.outgoing.client import Answer, HttpClient

FOLLOWED: Final = (301, 302, 303, 307, 308)


class TooManyRedirections(NoAnswer):
    """One request was sent on and on."""


@frozen
class Redirects:
    """Sends requests by *client* to where *rules* allow; an answer with one of *statuses* is followed.

    *most* is the number of requests that one may come to.
    """

    client: HttpClient
    rules: FetchRules
    most: int
    statuses: Collection[int] = FOLLOWED

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], secrets: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer at the end of the redirections, whatever its status.

        *secrets* are headers for the first server alone; so are credentials in a URL for the server they stand at.

        :raises UrlRefused: if the URL or a redirection leads where it may not.
        :raises NoAnswer: if somebody does not answer, or they send us on too often.
        """
        first = owner = self.rules.admit(url)
        for _ in range(self.most):
            target = self.rules.admit(url)
            owner = target if target.user is not None else owner
            sent = dict(headers)
            if secrets and _same(first, target):
                sent |= secrets
            if owner.user is not None and _same(owner, target):
                sent["Authorization"] = _basic(owner)
            answer = await self.client.request(method, target.url, sent)
            if answer.status not in self.statuses:
                return answer
            place = answer.header("Location")
            answer.drop()
            if not place:
                raise NoAnswer("a redirection to nowhere")
            url = urljoin(target.url, place)
        raise TooManyRedirections(f"more than {self.most} requests for one, by redirections")


def _same(one: Target, other: Target) -> bool:
    return (one.scheme, one.authority) == (other.scheme, other.authority)


def _basic(target: Target) -> str:
    return "Basic " + b64encode(f"{target.user}:{target.password or ''}".encode()).decode()
