package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-msgio"

	"interop/native"
)

// nativeNode is what a peer of the native format has beside its host.
type nativeNode struct {
	servers map[string]*native.Server
	mutex   sync.Mutex
	clients []*native.Client
	calls   []*native.Call
}

func newNativeNode() *nativeNode { return &nativeNode{servers: services()} }

// serve announces the native name of each service, the plain one of those that have requests, and that they
// belong together.
func (n *nativeNode) serve(node *node) {
	node.host.SetStreamHandler(native.Prefix, func(stream network.Stream) { _ = stream.Reset() })
	for service, server := range n.servers {
		id := protocol.ID("/interop/" + service + "/1.0.0")
		node.host.SetStreamHandler(native.Prefix+id, func(stream network.Stream) {
			node.count(id, stream)
			if err := server.Serve(stream); err != nil {
				say("event broken " + strings.ReplaceAll(err.Error(), "\n", " "))
			}
		})
		if handler, ok := server.Handlers[""]; ok {
			node.host.SetStreamHandler(id, func(stream network.Stream) {
				defer stream.Close()
				// The other end sees what went wrong, and checks it.
				_ = servePlain(handler, msgio.NewReadWriter(stream))
			})
		}
	}
}

// servePlain answers what a service answers in the plain format.
func servePlain(handler native.Handler, messages msgio.ReadWriter) error {
	for {
		request, err := messages.ReadMsg()
		if err != nil {
			return err
		}
		answer, err := handler(context.Background(), &native.Asked{Body: request})
		if err != nil {
			return err
		}
		if err := messages.WriteMsg(answer.Body); err != nil {
			return err
		}
	}
}

// open opens a native stream, and returns its number.
func (n *nativeNode) open(ctx context.Context, host host.Host, to peer.ID, name string) (string, error) {
	stream, err := host.NewStream(ctx, to, protocol.ID(native.Prefix+name))
	if err != nil {
		return "", err
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.clients = append(n.clients, native.NewClient(stream, 0))
	return strconv.Itoa(len(n.clients) - 1), nil
}

// run carries out one command and returns the words of its answer.
func (n *nativeNode) run(command string, words []string) (string, error) {
	answer, err := n.carryOut(command, words)
	if err != nil {
		return "", errors.New(explain(err))
	}
	return answer, nil
}

func (n *nativeNode) carryOut(command string, words []string) (string, error) {
	switch command {
	case "ask":
		return n.ask(words)
	case "call":
		return n.call(words)
	case "drain":
		n.drain(number(words[0]))
		return "", nil
	case "close":
		n.client(words[0]).Close()
		return "", nil
	}
	call := n.opened(words[0])
	switch command {
	case "push":
		return "", push(call, number(words[1]), number(words[2]), words[3])
	case "pull":
		received := newReceipts()
		err := received.pull(call, number(words[1]))
		if err == nil || errors.Is(err, io.EOF) {
			return received.String(), nil
		}
		return received.String() + " " + explain(err), nil
	case "finish":
		return "", call.Finish()
	case "cancel":
		call.Cancel()
		return "", nil
	case "drained":
		<-call.Draining()
		return "", nil
	case "result":
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		answer, err := call.Result(ctx)
		if err != nil {
			return "", err
		}
		return describe(answer), nil
	}
	return "", fmt.Errorf("unknown command %q", command)
}

func (n *nativeNode) client(word string) *native.Client {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return n.clients[number(word)]
}

func (n *nativeNode) opened(word string) *native.Call {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return n.calls[number(word)]
}

// ask sends a request: client, size, seed, and options.
func (n *nativeNode) ask(words []string) (string, error) {
	options, err := readOptions(words[1:])
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), limit, errors.New("it hangs"))
	if options.cancelAfter > 0 {
		ctx, cancel = context.WithCancel(context.Background())
		time.AfterFunc(options.cancelAfter, cancel)
	} else if options.ask.Timeout > 0 {
		ctx, cancel = context.WithCancel(context.Background())
	}
	defer cancel()
	answer, err := n.client(words[0]).Ask(ctx, &options.ask)
	if err != nil {
		return "", err
	}
	return describe(answer), nil
}

// call opens a call, and returns its number and the metadata of ACCEPT: client, size, seed, and options.
func (n *nativeNode) call(words []string) (string, error) {
	options, err := readOptions(words[1:])
	if err != nil {
		return "", err
	}
	call, err := n.client(words[0]).Open(context.Background(), &options.ask, options.window)
	if err != nil {
		return "", err
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.calls = append(n.calls, call)
	return strconv.Itoa(len(n.calls)-1) + describeMeta(call.Meta), nil
}

// drain drains all streams. What is at work has so many milliseconds.
func (n *nativeNode) drain(grace int) {
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(time.Duration(grace)*time.Millisecond, cancel)
	for _, server := range n.servers {
		server.Drain(ctx)
	}
}

type options struct {
	ask         native.Ask
	window      native.Window
	cancelAfter time.Duration
}

// readOptions reads a size, a seed and words like "method=named".
func readOptions(words []string) (*options, error) {
	o := &options{window: window}
	o.ask.Body = body(number(words[0]), words[1])
	for _, word := range words[2:] {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "method":
			o.ask.Method = value
		case "meta":
			key, encoded, _ := strings.Cut(value, "=")
			decoded, err := hex.DecodeString(encoded)
			if err != nil {
				return nil, err
			}
			o.ask.Meta = append(o.ask.Meta, native.Meta{Key: key, Value: decoded})
		case "compress":
			o.ask.Compress = true
		case "silent":
			o.ask.Silent = true
		case "timeout":
			o.ask.Timeout = time.Duration(number(value)) * time.Millisecond
		case "cancel":
			o.cancelAfter = time.Duration(number(value)) * time.Millisecond
		case "window":
			if _, err := fmt.Sscanf(value, "%d,%d", &o.window.Bytes, &o.window.Messages); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("unknown option %q", word)
		}
	}
	return o, nil
}
