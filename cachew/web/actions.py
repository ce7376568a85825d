"""How what can be done with a repository is begun, whoever asks for it: the admin API or the repository's page."""

from twisted.logger import Logger

from cachew.mirrors.identity import Grammar, Identity
from cachew.plumbing.errors import BadRequest, NotFound
from cachew.web.status import ACTIONS, Operations


class RepositoryActions:
    """Begins what is asked for.

    :param operations: the server.
    :param grammar: how repositories are named.
    """

    log = Logger()

    def __init__(self, *, operations: Operations, grammar: Grammar) -> None:
        self._operations = operations
        self._grammar = grammar

    async def begin(self, name: str, action: str, *, sure: bool = True) -> Identity:
        """Begin a fetch, snapshot, repack or scrub of a repository, or forget it.

        :param name: as people write it.
        :param sure: whether who asks has said that he knows what is lost.
        :return: the repository.
        :raise NotFound: when there is no such action.
        :raise BadRequest: when it has to be said that one is sure.
        """
        if action not in ACTIONS:
            raise NotFound(f"no such action; there are {', '.join(ACTIONS)}")
        if action == "forget" and not sure:
            raise BadRequest("forget removes all that is kept of a repository; say that you are sure")
        identity = self._grammar.from_decoded(name)
        await self._operations.act(identity, action)
        self.log.info("{action} of {repository} asked for", action=action, repository=identity.name)
        return identity
