"""How objects and refs come from one upstream into a repository.

By id wherever the upstream allows it, because then git asks for no listing: cachew has one already.
"""

import re
from collections import deque
from collections.abc import Collection, Mapping
from random import random

from twisted.logger import Logger

from cachew.mirrors.gitfailures import NOT_HERE, about_what_was_asked, says_not_here, worth_another_way
from cachew.mirrors.history import shallow_of
from cachew.mirrors.kinds import MANY_REFS
from cachew.mirrors.moved import Moved, change_of, haves_of, near_of
from cachew.mirrors.packanswer import question
from cachew.mirrors.refs import Change, RefState, Tip, change
from cachew.mirrors.repository import Repository
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import ProcessFailed, ProcessTimedOut, UpstreamBusy, UpstreamError, UpstreamTimeout
from cachew.upstream.authenticatedposts import AuthenticatedPosts
from cachew.upstream.backoff import Backoff
from cachew.upstream.remotes import Remote

_MOST_TRIES = 64
"""Fetches that the ids of one client may take: one more for each that the upstream doesn't have and names."""
_ANY_OID = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{40})\b")
_REFUSALS = (NOT_HERE, "unadvertised object", "no such remote ref", "couldn't find remote ref")
_MOST_AT_FIRST = 12
"""After so many failures, without anything that came, no more is tried: it is the upstream that is broken."""
_MOST_FAILURES = 256


class Transfer:
    """Fetches from one upstream.

    :param remote: the upstream.
    :param posts: ask it for packs.
    :param clock: what time it is.
    """

    log = Logger()

    def __init__(self, *, remote: Remote, posts: AuthenticatedPosts, clock: Clock) -> None:
        self._remote = remote
        self._posts = posts
        self._clock = clock
        self._backoff = Backoff(clock=clock, random=random)

    @property
    def _comes_in_pieces(self) -> bool:
        """Whether the upstream may give objects one by one, or packs that lean on others."""
        known = self._remote.capabilities
        return known is None or known.dumb

    async def bring(
        self,
        repository: Repository,
        oids: Collection[str],
        near: Collection[str] = (),
        haves: Collection[str] = (),
    ) -> dict[str, ProcessFailed]:
        """Fetch objects and all that they reach; the repository's own refs stay as they are.

        :param oids: these, none of them twice.
        :param near: tips of the repository that have nearly all that is behind these, if git is to see no others.
        :param haves: such tips, if they are known; what they do not have comes without negotiation.
        :return: those that can't be had, each with the reason; all others are there.
        :raise CachewError: when the upstream fails, whatever it is asked for.
        """
        # So many that to put them in order would hold everybody up come in the order in which they are.
        missing = sorted(oids) if len(oids) <= MANY_REFS else list(oids)
        if not missing:
            return {}
        self._backoff.check(self._remote.url, self._remote.url)
        if haves and await self._pulled(repository, missing, haves, near):
            return {}
        url, extra = await self._remote.fetch_url(), await self._remote.git_environment()
        try:
            await repository.intake.fetch_objects(url, missing, extra, near, apart=self._comes_in_pieces)
        except ProcessFailed as error:
            if not about_what_was_asked(error):
                raise
            if _is_refusal(error):
                # An upstream that gives nothing by id alone, or tips that moved: by name, then what is listed.
                missing = await self._by_name(repository, url, missing, extra)
            return await self._by_halves(repository, url, missing, extra, error)
        return {}

    async def _pulled(
        self, repository: Repository, oids: list[str], haves: Collection[str], near: Collection[str]
    ) -> bool:
        """Ask for objects without git, and say whether they are here now, with all that they reach.

        Whatever is not as it mostly is, is left to git.

        :raise UpstreamTimeout: when the upstream hangs.
        :raise UpstreamBusy: when it wants to be left alone, which it is then for as long as it says.
        """
        if shallow_of(repository.directory):
            return False
        known = self._remote.capabilities
        named = known is not None and "agent" in known.features
        asked = question(repository.object_format, oids, sorted(haves), named=named)
        try:
            answer = await self._posts.fetch(self._remote, asked)
        except UpstreamTimeout:
            raise
        except UpstreamBusy as busy:
            self._backoff.busy(self._remote.url, status=busy.status, retry_after=busy.retry_after)
            raise
        except UpstreamError as error:
            self.log.debug("{upstream}: {error}", upstream=self._remote.url, error=str(error))
            return False
        self._backoff.well(self._remote.url)
        if answer is None or not await repository.intake.take_answer(answer):
            return False
        if repository.objects.missing(oids):
            return False
        # What the pack's objects name is there, or git had not taken it.
        return repository.intake.links.hold or await repository.history.connected(oids, near)

    async def _by_name(self, repository: Repository, url: str, oids: list[str], extra: Mapping[str, str]) -> list[str]:
        """Fetch all refs and return which of the object ids have not come so."""
        try:
            await repository.intake.fetch_refs(url, extra)
        except ProcessFailed as error:
            if not about_what_was_asked(error):
                raise
            return oids
        return repository.objects.missing(oids)

    async def _by_halves(
        self, repository: Repository, url: str, oids: list[str], extra: Mapping[str, str], first: ProcessFailed
    ) -> dict[str, ProcessFailed]:
        """Fetch what can be had of object ids that can't be had together."""
        bad: dict[str, ProcessFailed] = {}
        parts, failures, came = ([oids] if oids else []), 0, False
        while parts:
            part = parts.pop()
            if failures >= (_MOST_FAILURES if came else _MOST_AT_FIRST):
                bad |= dict.fromkeys(part, first)
                continue
            try:
                await repository.intake.fetch_objects(url, part, extra, apart=self._comes_in_pieces)
                came = True
            except ProcessFailed as error:
                if not about_what_was_asked(error):
                    raise
                failures += 1
                middle = len(part) // 2
                if middle:
                    parts += [part[middle:], part[:middle]]
                else:
                    bad[part[0]] = error
        return bad

    async def follow(
        self,
        repository: Repository,
        wanted: RefState,
        *,
        brought: Collection[str] = (),
        known: RefState | None = None,
    ) -> dict[Tip, ProcessFailed]:
        """Bring the repository's refs to where they should be, and first the objects.

        :param brought: objects that have come just now, with all that they reach.
        :param known: what the repository's refs are; they are looked at where they are few, or that is not known.
        :return: the tips that can't be had, or that no ref can be moved to, each with the reason; all other refs are
            where they should be.
        :raise CachewError: when the upstream fails; the refs are then as they were, or nearer to it.
        """
        few = known is None or len(known.refs) <= MANY_REFS
        if not few:
            await repository.refs.tell_of_damage()
        present = await repository.refs.present(known or RefState()) if few else known
        assert present is not None
        quick = few and len(wanted.refs) <= MANY_REFS
        step, needed = _step(present, wanted) if quick else await repository.work.in_thread(_step, present, wanted)
        lacking = set(await repository.work.missing(repository.objects, needed))
        if (there := needed.difference(lacking, brought)) and not await repository.history.connected(there):
            lacking = needed
        bad = await self._bring_for(repository, step, present, lacking, certain=lacking is not needed)
        failed = {(name, oid): bad[oid] for name, oid in step.updates.items() if oid in bad} if bad else {}
        if wanted.head in bad:
            failed["HEAD", wanted.head] = bad[wanted.head]
        if not failed:
            failed = await self._apply(repository, step)
            if few and not failed:
                repository.refs.left(wanted, step)
            return failed
        possible = {name: oid for name, oid in wanted.refs.items() if (name, oid) not in failed}
        kept = {name: oid for name, oid in present.refs.items() if name in wanted.refs}
        head = present.head if wanted.head in bad else wanted.head
        return failed | await self._apply(repository, change(present, RefState(kept | possible, head)))

    async def follow_part(self, repository: Repository, present: RefState, moved: Moved) -> dict[Tip, ProcessFailed]:
        """Bring some refs to where they should be, and first the objects.

        :param present: what the repository's refs are.
        :param moved: what is to be of some of them, None for what is to be no more.
        :return: and raises the same as :meth:`follow`.
        """
        await repository.refs.tell_of_damage()
        step = change_of(present, moved)
        needed = set(step.updates.values())
        if step.head is not None and not step.head.startswith("refs/"):
            needed.add(step.head)
        lacking = set(repository.objects.missing(needed))
        there = needed - lacking
        if there and (there := present.lacking(there)) and not await repository.history.connected(there):
            lacking = needed
        bad = await self._bring_for(repository, step, present, lacking, certain=lacking is not needed)
        failed = {(name, oid): bad[oid] for name, oid in step.updates.items() if oid in bad}
        if step.head in bad:
            failed["HEAD", step.head] = bad[step.head]
        done = {name: ref for name, ref in moved.items() if ref is None or (name, ref.oid) not in failed}
        return failed | await self._apply(repository, change_of(present, done))

    async def _bring_for(
        self, repository: Repository, step: Change, present: RefState, lacking: Collection[str], *, certain: bool
    ) -> dict[str, ProcessFailed]:
        """Fetch what a step needs.

        :param certain: whether what is there is whole.
        """
        if not lacking or not certain:
            # Where nothing is to come nobody looks at what very many refs had before.
            return await self.bring(repository, lacking)
        near, haves = near_of(step, present, lacking), haves_of(step, present, lacking)
        return await self.bring(repository, lacking, near, haves)

    async def _apply(self, repository: Repository, step: Change) -> dict[Tip, ProcessFailed]:
        """Move refs, by halves where that can't be done at once."""
        try:
            await repository.ref_updates.apply(step, self._clock.now())
        except ProcessFailed as error:
            halves = step.halves()
            if isinstance(error, ProcessTimedOut):
                raise
            if halves:
                return {tip: e for half in halves for tip, e in (await self._apply(repository, half)).items()}
            return dict.fromkeys(step.updates.items(), error)
        return {}

    async def fetch_ids(self, repository: Repository, oids: list[str]) -> None:
        """Fetch objects that no ref of the repository leads to, and keep them alive.

        :raise CachewError: when that fails as a whole.
        """
        self._backoff.check(self._remote.url, self._remote.url)
        url, extra = await self._remote.fetch_url(), await self._remote.git_environment()
        try:
            await self._fetch_in_parts(repository, url, oids, extra)
        finally:
            absent = set(repository.objects.missing(oids))
            if came := [oid for oid in oids if oid not in absent]:
                await repository.ref_updates.keep(came, self._clock.now())

    async def _fetch_in_parts(
        self, repository: Repository, url: str, oids: list[str], extra: Mapping[str, str]
    ) -> None:
        """Fetch all ids at once; those that the upstream does not have must not keep the others from coming."""
        parts, tries = deque([oids]), _MOST_TRIES
        while parts and tries:
            part, tries = parts.popleft(), tries - 1
            try:
                await repository.intake.fetch_objects(url, part, extra, apart=self._comes_in_pieces)
            except ProcessFailed as error:
                # What somebody asked for and nobody has is no failure of the mirror's.
                if not worth_another_way(error) or (len(oids) == 1 and not says_not_here(error)):
                    raise
                self.log.debug("{upstream}: {error}", upstream=url, error=str(error))
                parts.extend(_without_the_bad(part, error.stderr))


def _step(present: RefState, wanted: RefState) -> tuple[Change, set[str]]:
    """Return what refs must do, and which objects that needs which none of them has yet."""
    step = change(present, wanted)
    head = wanted.head_commit
    return step, present.lacking([*step.updates.values(), *([] if head is None else [head])])


def _without_the_bad(oids: list[str], complaint: str) -> list[list[str]]:
    """Return in which parts ids are tried again: all that git did not name, or else halves."""
    named = set(_ANY_OID.findall(complaint))
    rest = [oid for oid in oids if oid not in named]
    middle = len(rest) // 2
    parts = [rest] if len(rest) < len(oids) else [rest[:middle], rest[middle:]]
    return [part for part in parts if part] if len(oids) > 1 else []


def _is_refusal(error: ProcessFailed) -> bool:
    return any(words in error.stderr for words in _REFUSALS)
