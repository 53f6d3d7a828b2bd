package main

import (
	"fmt"
	"net"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
)

// The texts inside the handshakes of go-dep2p v0.0.2. Everything else is as in libp2p.
const (
	alpn              = "dep2p"
	certificatePrefix = "dep2p-tls-handshake:"
	noisePrefix       = "noise-dep2p-static-key:"
)

// identity is what the peer proves inside a handshake, and what it offers beside.
type identity struct {
	protocol protocol.ID
	key      crypto.PrivKey
	peer     peer.ID
	muxers   []string
}

func newIdentity(id protocol.ID, key crypto.PrivKey, muxers []upgrader.StreamMuxer) (*identity, error) {
	local, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	i := &identity{protocol: id, key: key, peer: local}
	for _, muxer := range muxers {
		i.muxers = append(i.muxers, string(muxer.ID))
	}
	return i, nil
}

// ID is the name under which the handshake is negotiated.
func (i *identity) ID() protocol.ID { return i.protocol }

// vouch signs a key of one connection or certificate with the key of the peer.
func (i *identity) vouch(prefix string, key []byte) (public, signature []byte, err error) {
	if public, err = crypto.MarshalPublicKey(i.key.GetPublic()); err != nil {
		return nil, nil, err
	}
	signature, err = i.key.Sign(append([]byte(prefix), key...))
	return public, signature, err
}

// vouchedFor returns the key of the peer that has signed another key.
func vouchedFor(prefix string, key, public, signature []byte) (crypto.PubKey, error) {
	peerKey, err := crypto.UnmarshalPublicKey(public)
	if err != nil {
		return nil, err
	}
	valid, err := peerKey.Verify(append([]byte(prefix), key...), signature)
	if err != nil {
		return nil, err
	}
	if !valid {
		return nil, fmt.Errorf("the signature is not one of %q", prefix)
	}
	return peerKey, nil
}

// secured is a connection whose handshake is done.
type secured struct {
	net.Conn
	local, remote peer.ID
	key           crypto.PubKey
	muxer         string
}

// secure says who is at the other end, which is expected unless it is empty.
func (i *identity) secure(conn net.Conn, key crypto.PubKey, expected peer.ID, muxer string) (sec.SecureConn, error) {
	remote, err := peer.IDFromPublicKey(key)
	if err != nil {
		return nil, err
	}
	if expected != "" && remote != expected {
		return nil, sec.ErrPeerIDMismatch{Expected: expected, Actual: remote}
	}
	return &secured{conn, i.peer, remote, key, muxer}, nil
}

func (s *secured) LocalPeer() peer.ID             { return s.local }
func (s *secured) RemotePeer() peer.ID            { return s.remote }
func (s *secured) RemotePublicKey() crypto.PubKey { return s.key }

func (s *secured) ConnState() network.ConnectionState {
	return network.ConnectionState{
		StreamMultiplexer:         protocol.ID(s.muxer),
		UsedEarlyMuxerNegotiation: s.muxer != "",
	}
}
