// A PointSub peer for tests, on go-libp2p: the plain format on go-msgio, and with --format native the native
// one on package native.
//
// With --dialect dep2p its handshakes have the texts of go-dep2p v0.0.2.
//
// It serves the protocols below and, told by lines on standard input, acts as a client. Each line
// is a number, a command and its arguments; the answer bears the same number. The Rust side
// decides and checks everything.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-msgio"
)

// limit is how long a command may take.
const limit = 20 * time.Second

// serving has what the peer does with a stream under each protocol. The stream is closed when the
// function returns, as Go's PointSub does.
var serving = map[protocol.ID]func(network.Stream, msgio.ReadWriter) error{
	"/interop/echo/1.0.0":  answerAll(echo),
	"/interop/large/1.0.0": answerAll(large),
	"/interop/once/1.0.0":  once,
	"/interop/fail/1.0.0":  fail,
	"/interop/slow/1.0.0":  slow,
	"/interop/torn/1.0.0":  torn,
	"/interop/half/1.0.0":  half,
}

func echo(request []byte) []byte { return request }

// large answers with as many bytes as the request says.
func large(request []byte) []byte { return make([]byte, number(string(request))) }

// answerAll answers request after request, as Go 1.1.x.
func answerAll(handle func([]byte) []byte) func(network.Stream, msgio.ReadWriter) error {
	return func(_ network.Stream, messages msgio.ReadWriter) error {
		for {
			request, err := messages.ReadMsg()
			if err != nil {
				return err
			}
			if err := messages.WriteMsg(handle(request)); err != nil {
				return err
			}
		}
	}
}

// once answers one request, as Go 1.0.x.
func once(_ network.Stream, messages msgio.ReadWriter) error {
	request, err := messages.ReadMsg()
	if err != nil {
		return err
	}
	return messages.WriteMsg(request)
}

// fail is a handler with an error: Go closes the stream without a frame.
func fail(_ network.Stream, messages msgio.ReadWriter) error {
	_, err := messages.ReadMsg()
	return err
}

// slow answers after as many milliseconds as the request says, if the caller waits for so long.
func slow(_ network.Stream, messages msgio.ReadWriter) error {
	request, err := messages.ReadMsg()
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		_, err := messages.ReadMsg()
		ended <- err
	}()
	select {
	case <-time.After(time.Duration(number(string(request))) * time.Millisecond):
		return messages.WriteMsg(request)
	case err := <-ended:
		say("event given-up")
		return err
	}
}

// torn resets the stream in the middle of its answer.
func torn(stream network.Stream, messages msgio.ReadWriter) error {
	if _, err := messages.ReadMsg(); err != nil {
		return err
	}
	if _, err := stream.Write(frame(1000, "torn")[:500]); err != nil {
		return err
	}
	return stream.Reset()
}

// half stops in the middle of its answer and says so.
func half(stream network.Stream, messages msgio.ReadWriter) error {
	if _, err := messages.ReadMsg(); err != nil {
		return err
	}
	if _, err := stream.Write(frame(1000, "half")[:500]); err != nil {
		return err
	}
	say("event half")
	_, err := messages.ReadMsg()
	return err
}

// node is the peer with the streams that it was told to open, and a count of those it accepted.
type node struct {
	host     host.Host
	mutex    sync.Mutex
	streams  []opened
	accepted map[accepted]int
	native   *nativeNode // nil in the plain format.
}

type opened struct {
	network.Stream
	messages msgio.ReadWriter
}

type accepted struct {
	protocol protocol.ID
	peer     peer.ID
}

func (n *node) serve(stream network.Stream) {
	defer stream.Close()
	n.count(stream.Protocol(), stream)
	// The other end sees what went wrong, and checks it.
	_ = serving[stream.Protocol()](stream, msgio.NewReadWriter(stream))
}

func (n *node) count(id protocol.ID, stream network.Stream) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.accepted[accepted{id, stream.Conn().RemotePeer()}]++
}

// run carries out one command and returns the words of its answer.
func (n *node) run(command string, words []string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	switch command {
	case "connect":
		info, err := peer.AddrInfoFromString(words[0])
		if err != nil {
			return "", err
		}
		return "", n.host.Connect(ctx, *info)
	case "open":
		id, err := peer.Decode(words[0])
		if err != nil {
			return "", err
		}
		if n.native != nil {
			return n.native.open(ctx, n.host, id, words[1])
		}
		stream, err := n.host.NewStream(ctx, id, protocol.ID(words[1]))
		if err != nil {
			return "", err
		}
		n.mutex.Lock()
		defer n.mutex.Unlock()
		n.streams = append(n.streams, opened{stream, msgio.NewReadWriter(stream)})
		return strconv.Itoa(len(n.streams) - 1), nil
	case "accepted":
		id, err := peer.Decode(words[1])
		if err != nil {
			return "", err
		}
		n.mutex.Lock()
		defer n.mutex.Unlock()
		return strconv.Itoa(n.accepted[accepted{protocol.ID(words[0]), id}]), nil
	}
	if n.native != nil {
		return n.native.run(command, words)
	}
	n.mutex.Lock()
	stream := n.streams[number(words[0])]
	n.mutex.Unlock()
	if err := stream.SetDeadline(time.Now().Add(limit)); err != nil {
		return "", err
	}
	switch command {
	case "send":
		return "", stream.messages.WriteMsg(body(number(words[1]), words[2]))
	case "part":
		whole := frame(number(words[1]), words[2])
		_, err := stream.Write(whole[number(words[3]):number(words[4])])
		return "", err
	case "read":
		answer, err := stream.messages.ReadMsg()
		if errors.Is(err, io.EOF) {
			return "end", nil
		}
		return fmt.Sprintf("%d %x", len(answer), sha256.Sum256(answer)), err
	case "shut":
		return "", stream.CloseWrite()
	case "reset":
		return "", stream.Reset()
	}
	return "", fmt.Errorf("unknown command %q", command)
}

// body is what the Rust side makes of the same size and seed. Repetition shrinks further than a compressed
// body may; what the seed "#" makes shrinks less.
func body(size int, seed string) []byte {
	if seed == "#" {
		var numbers []byte
		for i := 0; len(numbers) < size; i++ {
			numbers = strconv.AppendInt(numbers, int64(i), 10)
		}
		return numbers[:size]
	}
	return bytes.Repeat([]byte(seed), size/len(seed)+1)[:size]
}

func frame(size int, seed string) []byte {
	length := binary.BigEndian.AppendUint32(nil, uint32(size))
	return append(length, body(size, seed)...)
}

func number(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		panic(err)
	}
	return n
}

var output sync.Mutex

func say(line string) {
	output.Lock()
	defer output.Unlock()
	fmt.Println(line)
}

const (
	overTCP  = "/ip4/127.0.0.1/tcp/0"
	overQUIC = "/ip4/127.0.0.1/udp/0/quic-v1"
)

// tcpWith is Yamux over TCP, encrypted like this.
func tcpWith(security libp2p.Option) libp2p.Option {
	return libp2p.ChainOptions(
		libp2p.ListenAddrStrings(overTCP),
		libp2p.Transport(tcp.NewTCPTransport),
		security,
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
	)
}

func quicWith(transport any) libp2p.Option {
	return libp2p.ChainOptions(libp2p.ListenAddrStrings(overQUIC), libp2p.Transport(transport))
}

// transports are all that there is, by the name of a dialect and of a handshake.
var transports = map[string]libp2p.Option{
	"libp2p noise": tcpWith(libp2p.Security(noise.ID, noise.New)),
	"libp2p tls":   tcpWith(libp2p.Security(libp2ptls.ID, libp2ptls.New)),
	"libp2p quic":  quicWith(libp2pquic.NewTransport),
	"dep2p noise":  tcpWith(libp2p.Security(noise.ID, newDep2pNoise)),
	"dep2p tls":    tcpWith(libp2p.Security(libp2ptls.ID, newDep2pTLS)),
	"dep2p quic":   quicWith(newDep2pQUIC),
}

func start(dialect, handshake, format string) (*node, error) {
	transport, known := transports[dialect+" "+handshake]
	if !known {
		return nil, fmt.Errorf("unknown: --dialect %s --handshake %s", dialect, handshake)
	}
	h, err := libp2p.New(
		transport,
		libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
	)
	if err != nil {
		return nil, err
	}
	n := &node{host: h, accepted: map[accepted]int{}}
	if format == "native" {
		n.native = newNativeNode()
		n.native.serve(n)
		return n, nil
	}
	for id := range serving {
		h.SetStreamHandler(id, n.serve)
	}
	return n, nil
}

func main() {
	dialect := flag.String("dialect", "libp2p", "the texts inside the handshakes: libp2p or dep2p")
	handshake := flag.String("handshake", "noise", "noise or tls over TCP, or quic")
	format := flag.String("format", "plain", "plain or native")
	flag.Parse()
	n, err := start(*dialect, *handshake, *format)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	say(fmt.Sprintf("ready %s/p2p/%s", n.host.Addrs()[0], n.host.ID()))
	// The end of the input is the end of the peer.
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		words := strings.Fields(lines.Text())
		go func() {
			answer, err := n.run(words[1], words[2:])
			if err != nil {
				answer = fmt.Sprintf("failed %v", err)
			} else {
				answer = "ok " + answer
			}
			say(words[0] + " " + strings.ReplaceAll(answer, "\n", " "))
		}()
	}
}
