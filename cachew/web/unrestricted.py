"""Who is let in where the operator has laid down nothing, and what he may lay down."""

from cachew.http.requests import StreamingRequest


class Unrestricted:
    """Lets everybody in, as who he seems to be."""

    decides = False
    """Whether :meth:`decide` is to be awaited."""

    def admit(self, request: StreamingRequest) -> None:
        """Say before any route whether a request is let in.

        :raise CachewError: what the client is refused with.
        """

    async def decide(self, request: StreamingRequest) -> None:
        """Say after that, for all but the health probes, what takes a while to find out.

        :raise CachewError: what the client is refused with.
        """

    def client_of(self, request: StreamingRequest) -> str:
        """Name a request's client for the log."""
        return request.remote_address

    def is_https(self, request: StreamingRequest) -> bool:
        """Say whether a request came over HTTPS."""
        return bool(request.isSecure())
