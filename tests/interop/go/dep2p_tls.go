package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
)

// extension is where a certificate has the key of the peer and its signature.
var extension = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 53594, 1, 1}

// vouchedKey is what the extension holds.
type vouchedKey struct {
	PublicKey []byte
	Signature []byte
}

// dep2pTLS is TLS 1.3 with the texts of dep2p.
type dep2pTLS struct {
	*identity
	config *tls.Config
}

func newDep2pTLS(id protocol.ID, key crypto.PrivKey, muxers []upgrader.StreamMuxer) (sec.SecureTransport, error) {
	identity, err := newIdentity(id, key, muxers)
	if err != nil {
		return nil, err
	}
	config, err := identity.config()
	return &dep2pTLS{identity, config}, err
}

// config is for both roles. The name of the dialect comes after those of the muxers.
func (i *identity) config() (*tls.Config, error) {
	certificate, err := i.certificate()
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{certificate},
		NextProtos:   append(i.muxers, alpn),
		// The certificates are no web server's. What they prove is checked after the handshake.
		InsecureSkipVerify:     true,
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
	}, err
}

// certificate makes one with a key of its own, for which the peer vouches.
func (i *identity) certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := i.selfSigned(key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func (i *identity) selfSigned(key *ecdsa.PrivateKey) ([]byte, error) {
	info, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	public, signature, err := i.vouch(certificatePrefix, info)
	if err != nil {
		return nil, err
	}
	value, err := asn1.Marshal(vouchedKey{public, signature})
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:    big.NewInt(1),
		Subject:         pkix.Name{SerialNumber: "1"},
		NotBefore:       time.Unix(0, 0),
		NotAfter:        time.Date(4096, 1, 1, 0, 0, 0, 0, time.UTC),
		ExtraExtensions: []pkix.Extension{{Id: extension, Value: value}},
	}
	return x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
}

// owner returns the key of the peer that vouches for the sole certificate.
func owner(certificates []*x509.Certificate) (crypto.PubKey, error) {
	if len(certificates) != 1 {
		return nil, errors.New("there must be one certificate")
	}
	certificate := certificates[0]
	if err := certificate.CheckSignature(
		certificate.SignatureAlgorithm, certificate.RawTBSCertificate, certificate.Signature,
	); err != nil {
		return nil, err
	}
	for _, found := range certificate.Extensions {
		if !found.Id.Equal(extension) {
			continue
		}
		var vouched vouchedKey
		if rest, err := asn1.Unmarshal(found.Value, &vouched); err != nil || len(rest) > 0 {
			return nil, errors.New("the extension with the key of the peer is broken")
		}
		info := certificate.RawSubjectPublicKeyInfo
		return vouchedFor(certificatePrefix, info, vouched.PublicKey, vouched.Signature)
	}
	return nil, errors.New("the certificate does not name a peer")
}

func (t *dep2pTLS) SecureInbound(ctx context.Context, conn net.Conn, from peer.ID) (sec.SecureConn, error) {
	return t.handshake(ctx, tls.Server(conn, t.config), from)
}

func (t *dep2pTLS) SecureOutbound(ctx context.Context, conn net.Conn, to peer.ID) (sec.SecureConn, error) {
	return t.handshake(ctx, tls.Client(conn, t.config), to)
}

func (t *dep2pTLS) handshake(ctx context.Context, conn *tls.Conn, expected peer.ID) (sec.SecureConn, error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	state := conn.ConnectionState()
	key, err := owner(state.PeerCertificates)
	if err != nil {
		return nil, err
	}
	// Without a name in common, Go's TLS as a client would go on; dep2p's peers always have one.
	if state.NegotiatedProtocol == "" {
		return nil, errors.New("the peer has no name of this dialect")
	}
	muxer := state.NegotiatedProtocol
	if muxer == alpn {
		muxer = ""
	}
	return t.secure(conn, key, expected, muxer)
}
