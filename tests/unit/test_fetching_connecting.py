"""A connection counts only when its TLS handshake is done, and closing it never waits."""

from __future__ import annotations

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IHandshakeListener, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface.verify import verifyObject

from twisted_pypi.fetching.connecting import READ_BUFFER, Connection, DialingFactory


class ConnectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.transport = StringTransport()
        self.connection = Connection(WrappingFactory(Factory()), Protocol())
        self.connection.makeConnection(self.transport)

    def test_interfaces(self) -> None:
        verifyObject(IHandshakeListener, self.connection)
        factory = DialingFactory(None)  # type: ignore[arg-type]
        verifyObject(IAgentEndpointFactory, factory)
        verifyObject(IStreamClientEndpoint, factory.endpointForURI(URI.fromBytes(b"https://a.example/")))

    def test_reads_much_at_once(self) -> None:
        assert self.transport.bufferSize == READ_BUFFER

    def test_reads_much_at_once_below_tls_too(self) -> None:
        transport, wrapping = StringTransport(), WrappingFactory(Factory.forProtocol(Protocol))
        wrapping.protocol = Connection
        tls = TLSMemoryBIOFactory(optionsForClientTLS("index.example"), True, wrapping)
        tls.buildProtocol(None).makeConnection(transport)
        assert transport.bufferSize == READ_BUFFER

    def test_secured_before_and_after_being_asked(self) -> None:
        asking = self.connection.secured()
        self.assertNoResult(asking)
        self.connection.handshakeCompleted()
        self.successResultOf(asking)
        self.successResultOf(self.connection.secured())

    def test_lost_before_and_after_being_asked(self) -> None:
        asking = self.connection.secured()
        self.connection.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(asking, ConnectionLost)
        self.failureResultOf(self.connection.secured(), ConnectionLost)

    def test_giving_up_the_handshake_aborts(self) -> None:
        asking = self.connection.secured()
        asking.cancel()
        self.failureResultOf(asking)
        self.connection.handshakeCompleted()
        assert self.transport.disconnected

    def test_closing_aborts(self) -> None:
        self.connection.loseConnection()
        assert self.transport.disconnected
