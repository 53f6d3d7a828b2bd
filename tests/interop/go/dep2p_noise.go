package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/flynn/noise"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise/pb"
	"google.golang.org/protobuf/proto"
)

// mostPlain is how many bytes fit into a message beside its authentication.
const mostPlain = noise.MaxMsgLen - 16

var ciphers = noise.NewCipherSuite(noise.DH25519, noise.CipherChaChaPoly, noise.HashSHA256)

// dep2pNoise is Noise XX with the text of dep2p.
type dep2pNoise struct {
	*identity
}

func newDep2pNoise(id protocol.ID, key crypto.PrivKey, muxers []upgrader.StreamMuxer) (sec.SecureTransport, error) {
	identity, err := newIdentity(id, key, muxers)
	return &dep2pNoise{identity}, err
}

func (n *dep2pNoise) SecureInbound(ctx context.Context, conn net.Conn, from peer.ID) (sec.SecureConn, error) {
	return n.handshake(ctx, conn, from, false)
}

func (n *dep2pNoise) SecureOutbound(ctx context.Context, conn net.Conn, to peer.ID) (sec.SecureConn, error) {
	return n.handshake(ctx, conn, to, true)
}

// handshake exchanges the three messages of XX. The last two say who their senders are.
func (n *dep2pNoise) handshake(ctx context.Context, conn net.Conn, expected peer.ID, dials bool) (sec.SecureConn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
		defer conn.SetDeadline(time.Time{})
	}
	static, err := noise.DH25519.GenerateKeypair(rand.Reader)
	if err != nil {
		return nil, err
	}
	state, err := noise.NewHandshakeState(noise.Config{
		CipherSuite:   ciphers,
		Pattern:       noise.HandshakeXX,
		Initiator:     dials,
		StaticKeypair: static,
	})
	if err != nil {
		return nil, err
	}
	ours, err := n.payload(static.Public)
	if err != nil {
		return nil, err
	}
	session := &session{Conn: conn, state: state, dials: dials}
	var theirs []byte
	if dials {
		err = session.say(nil)
		if err == nil {
			theirs, err = session.hear()
		}
		if err == nil {
			err = session.say(ours)
		}
	} else {
		_, err = session.hear()
		if err == nil {
			err = session.say(ours)
		}
		if err == nil {
			theirs, err = session.hear()
		}
	}
	if err != nil {
		return nil, err
	}
	key, muxers, err := checkPayload(theirs, state.PeerStatic())
	if err != nil {
		return nil, err
	}
	return n.secure(session, key, expected, n.common(muxers))
}

// payload says who the peer is and which muxers it has.
func (n *dep2pNoise) payload(static []byte) ([]byte, error) {
	public, signature, err := n.vouch(noisePrefix, static)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(&pb.NoiseHandshakePayload{
		IdentityKey: public,
		IdentitySig: signature,
		Extensions:  &pb.NoiseExtensions{StreamMuxers: n.muxers},
	})
}

func checkPayload(bytes, static []byte) (crypto.PubKey, []string, error) {
	var payload pb.NoiseHandshakePayload
	if err := proto.Unmarshal(bytes, &payload); err != nil {
		return nil, nil, err
	}
	key, err := vouchedFor(noisePrefix, static, payload.GetIdentityKey(), payload.GetIdentitySig())
	return key, payload.GetExtensions().GetStreamMuxers(), err
}

// common is the muxer that both have; this peer has one, so it does not matter who prefers what.
func (n *dep2pNoise) common(theirs []string) string {
	for _, muxer := range n.muxers {
		if slices.Contains(theirs, muxer) {
			return muxer
		}
	}
	return ""
}

// session is a connection whose bytes lie in messages of Noise, each behind its length.
type session struct {
	net.Conn
	state            *noise.HandshakeState
	dials            bool
	encrypt, decrypt *noise.CipherState
	reading, writing sync.Mutex
	unread           []byte
}

// say writes the next message of the handshake.
func (s *session) say(payload []byte) error {
	message, dialler, listener, err := s.state.WriteMessage(nil, payload)
	if err != nil {
		return err
	}
	s.use(dialler, listener)
	return s.writeMessage(message)
}

// hear reads the next message of the handshake.
func (s *session) hear() ([]byte, error) {
	message, err := s.readMessage()
	if err != nil {
		return nil, err
	}
	payload, dialler, listener, err := s.state.ReadMessage(nil, message)
	s.use(dialler, listener)
	return payload, err
}

// use takes the keys for what each of the two will send. There are none before the last message.
func (s *session) use(dialler, listener *noise.CipherState) {
	if s.dials {
		s.encrypt, s.decrypt = dialler, listener
	} else {
		s.encrypt, s.decrypt = listener, dialler
	}
}

func (s *session) writeMessage(message []byte) error {
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(message)))
	_, err := s.Conn.Write(append(framed, message...))
	return err
}

func (s *session) readMessage() ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(s.Conn, length[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(s.Conn, message)
	return message, err
}

func (s *session) Read(bytes []byte) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	for len(s.unread) == 0 {
		message, err := s.readMessage()
		if err != nil {
			return 0, err
		}
		if s.unread, err = s.decrypt.Decrypt(nil, nil, message); err != nil {
			return 0, err
		}
	}
	read := copy(bytes, s.unread)
	s.unread = s.unread[read:]
	return read, nil
}

func (s *session) Write(bytes []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	written := 0
	for part := range slices.Chunk(bytes, mostPlain) {
		message, err := s.encrypt.Encrypt(nil, nil, part)
		if err == nil {
			err = s.writeMessage(message)
		}
		if err != nil {
			return written, err
		}
		written += len(part)
	}
	return written, nil
}
