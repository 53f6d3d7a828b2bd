package main

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/multiformats/go-multiaddr"
	"github.com/quic-go/quic-go"
)

// dep2pQUIC is QUIC with the certificates of dep2p and its sole name. What it lacks beside
// libp2p's is hole punching and the accounting of resources.
type dep2pQUIC struct {
	*identity
	config  *tls.Config
	manager *quicreuse.ConnManager
}

func newDep2pQUIC(key crypto.PrivKey, manager *quicreuse.ConnManager) (transport.Transport, error) {
	identity, err := newIdentity("", key, nil)
	if err != nil {
		return nil, err
	}
	config, err := identity.config()
	return &dep2pQUIC{identity, config, manager}, err
}

func unlimited(*quic.Conn, uint64) bool { return true }

func (q *dep2pQUIC) Dial(ctx context.Context, to multiaddr.Multiaddr, id peer.ID) (transport.CapableConn, error) {
	conn, err := q.manager.DialQUIC(ctx, to, q.config, unlimited)
	if err != nil {
		return nil, err
	}
	return q.check(conn, id)
}

func (q *dep2pQUIC) CanDial(addr multiaddr.Multiaddr) bool {
	_, err := addr.ValueForProtocol(multiaddr.P_QUIC_V1)
	return err == nil
}

func (q *dep2pQUIC) Protocols() []int { return []int{multiaddr.P_QUIC_V1} }
func (q *dep2pQUIC) Proxy() bool      { return false }

// check finds out who is at the other end.
func (q *dep2pQUIC) check(conn *quic.Conn, expected peer.ID) (transport.CapableConn, error) {
	checked, err := q.checked(conn, expected)
	if err != nil {
		conn.CloseWithError(1, "")
		return nil, err
	}
	return checked, nil
}

func (q *dep2pQUIC) checked(conn *quic.Conn, expected peer.ID) (transport.CapableConn, error) {
	key, err := owner(conn.ConnectionState().TLS.PeerCertificates)
	if err != nil {
		return nil, err
	}
	who, err := q.secure(nil, key, expected, "")
	if err != nil {
		return nil, err
	}
	version := conn.ConnectionState().Version
	local, err := quicreuse.ToQuicMultiaddr(conn.LocalAddr(), version)
	if err != nil {
		return nil, err
	}
	remote, err := quicreuse.ToQuicMultiaddr(conn.RemoteAddr(), version)
	if err != nil {
		return nil, err
	}
	return &quicConn{who, q, conn, local, remote}, nil
}

func (q *dep2pQUIC) Listen(addr multiaddr.Multiaddr) (transport.Listener, error) {
	listener, err := q.manager.ListenQUIC(addr, q.config, unlimited)
	if err != nil {
		return nil, err
	}
	return &quicListener{listener, q}, nil
}

type quicListener struct {
	quicreuse.Listener
	transport *dep2pQUIC
}

func (l *quicListener) Multiaddr() multiaddr.Multiaddr { return l.Multiaddrs()[0] }
func (l *quicListener) Addr() net.Addr                 { return l.Listener.Addr() }

func (l *quicListener) Accept() (transport.CapableConn, error) {
	for {
		conn, err := l.Listener.Accept(context.Background())
		if err != nil {
			return nil, err
		}
		if checked, err := l.transport.check(conn, ""); err == nil {
			return checked, nil
		}
	}
}

type quicConn struct {
	sec.SecureConn
	transport     *dep2pQUIC
	conn          *quic.Conn
	local, remote multiaddr.Multiaddr
}

func (c *quicConn) LocalMultiaddr() multiaddr.Multiaddr  { return c.local }
func (c *quicConn) RemoteMultiaddr() multiaddr.Multiaddr { return c.remote }
func (c *quicConn) Transport() transport.Transport       { return c.transport }
func (c *quicConn) Scope() network.ConnScope             { return &network.NullScope{} }
func (c *quicConn) IsClosed() bool                       { return c.conn.Context().Err() != nil }
func (c *quicConn) As(any) bool                          { return false }
func (c *quicConn) Close() error                         { return c.CloseWithError(0) }

func (c *quicConn) CloseWithError(code network.ConnErrorCode) error {
	return c.conn.CloseWithError(quic.ApplicationErrorCode(code), "")
}

func (c *quicConn) OpenStream(ctx context.Context) (network.MuxedStream, error) {
	stream, err := c.conn.OpenStreamSync(ctx)
	return &quicStream{stream}, err
}

func (c *quicConn) AcceptStream() (network.MuxedStream, error) {
	stream, err := c.conn.AcceptStream(context.Background())
	return &quicStream{stream}, err
}

type quicStream struct {
	*quic.Stream
}

func (s *quicStream) CloseWrite() error { return s.Stream.Close() }
func (s *quicStream) Reset() error      { return s.ResetWithError(0) }

func (s *quicStream) CloseRead() error {
	s.CancelRead(0)
	return nil
}

func (s *quicStream) Close() error {
	s.CancelRead(0)
	return s.Stream.Close()
}

func (s *quicStream) ResetWithError(code network.StreamErrorCode) error {
	s.CancelRead(quic.StreamErrorCode(code))
	s.CancelWrite(quic.StreamErrorCode(code))
	return nil
}
