// A PointSub peer for tests, on js-libp2p: the plain format and nothing else. The protocols that
// it serves and the commands that it takes are those of the Go peer; see there.

import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'

import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { tcp } from '@libp2p/tcp'
import { byteStream } from '@libp2p/utils'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

// How long a command may take, in milliseconds.
const LIMIT = 20_000

// More streams and connections than any test has.
const MANY = 10_000

// The longest body that is read: the limit of Go's reader.
const MAX_BODY = 8 * 1024 * 1024

// js-libp2p sends what waits to be sent as one frame of Yamux, as far as the window goes. Rust's
// Yamux ends a connection that brings a frame of more than 1 MiB.
const PIECE = 64 * 1024

// What the Rust side makes of the same size and seed.
function body (size, seed) {
  return Buffer.alloc(Number(size), seed)
}

function frame (body) {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.byteLength)
  return Buffer.concat([length, body])
}

// The messages on a stream.
class Messages {
  constructor (stream) {
    this.stream = stream
    this.bytes = byteStream(stream, { maxBufferSize: 2 * MAX_BODY })
  }

  // The next one, or null at the end of the stream.
  async read () {
    let length
    try {
      length = await this.bytes.read({ bytes: 4 })
    } catch (error) {
      const whole = this.bytes.readBuffer.byteLength === 0 && this.stream.status !== 'reset'
      if (error.name === 'UnexpectedEOFError' && whole) {
        return null
      }
      throw error
    }
    const bytes = length.getUint32(0)
    if (bytes > MAX_BODY) {
      throw new Error('message too large')
    }
    return (await this.bytes.read({ bytes })).subarray()
  }

  async write (body) {
    await this.writeBytes(frame(body))
  }

  async writeBytes (bytes) {
    for (let at = 0; at < bytes.length; at += PIECE) {
      await this.bytes.write(bytes.subarray(at, at + PIECE))
    }
  }
}

// Answers request after request, as Go 1.1.x.
function answerAll (handle) {
  return async (messages) => {
    for (let request; (request = await messages.read()) !== null;) {
      await messages.write(handle(request))
    }
  }
}

// Reads one request and does something about it.
function answerOne (handle) {
  return async (messages) => {
    const request = await messages.read()
    if (request !== null) {
      await handle(messages, request)
    }
  }
}

function text (body) {
  return Buffer.from(body).toString()
}

// What the peer does with a stream under each protocol. The stream is closed afterwards.
const serving = {
  '/interop/echo/1.0.0': answerAll((request) => request),
  '/interop/large/1.0.0': answerAll((request) => body(text(request), '\0')),
  '/interop/once/1.0.0': answerOne((messages, request) => messages.write(request)),
  '/interop/fail/1.0.0': answerOne(() => {}),
  '/interop/slow/1.0.0': answerOne(async (messages, request) => {
    const ended = messages.read().then(() => true, () => true)
    const { promise: over, resolve } = Promise.withResolvers()
    const timer = setTimeout(() => resolve(false), Number(text(request)))
    if (await Promise.race([ended, over])) {
      clearTimeout(timer)
      console.log('event given-up')
    } else {
      await messages.write(request)
    }
  }),
  '/interop/torn/1.0.0': answerOne(async (messages) => {
    await messages.writeBytes(frame(body(1000, 'torn')).subarray(0, 500))
    throw new Error('torn')
  }),
  '/interop/half/1.0.0': answerOne(async (messages) => {
    await messages.writeBytes(frame(body(1000, 'half')).subarray(0, 500))
    console.log('event half')
    await messages.read()
  })
}

const node = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify() },
  // So many a second from one address.
  connectionManager: { inboundConnectionThreshold: MANY }
})

// How many streams were accepted, by protocol and peer.
const accepted = new Map()

for (const [protocol, serve] of Object.entries(serving)) {
  await node.handle(protocol, async (stream, connection) => {
    const key = `${protocol} ${connection.remotePeer}`
    accepted.set(key, (accepted.get(key) ?? 0) + 1)
    try {
      await serve(new Messages(stream))
      await stream.close()
    } catch (error) {
      // The other end sees it, and checks it.
      stream.abort(error)
    }
  }, { maxInboundStreams: MANY, maxOutboundStreams: MANY })
}

// The streams that the peer was told to open.
const streams = []

const commands = {
  async connect (address) {
    await node.dial(multiaddr(address), { signal: AbortSignal.timeout(LIMIT) })
  },
  async open (peer, protocol) {
    const connection = node.getConnections().find(({ remotePeer }) => `${remotePeer}` === peer)
    const stream = await connection.newStream(protocol, { signal: AbortSignal.timeout(LIMIT) })
    return streams.push(new Messages(stream)) - 1
  },
  accepted (protocol, peer) {
    return accepted.get(`${protocol} ${peer}`) ?? 0
  },
  async send (stream, size, seed) {
    await streams[stream].write(body(size, seed))
  },
  async part (stream, size, seed, from, to) {
    await streams[stream].writeBytes(frame(body(size, seed)).subarray(from, to))
  },
  async read (stream) {
    const answer = await streams[stream].read()
    if (answer === null) {
      return 'end'
    }
    return `${answer.byteLength} ${createHash('sha256').update(answer).digest('hex')}`
  },
  async shut (stream) {
    await streams[stream].stream.close({ signal: AbortSignal.timeout(LIMIT) })
  },
  reset (stream) {
    streams[stream].stream.abort(new Error('told to'))
  }
}

async function run (line) {
  const [number, command, ...words] = line.split(' ')
  try {
    console.log(`${number} ok ${await commands[command](...words) ?? ''}`)
  } catch (error) {
    console.log(`${number} failed ${error.message}`)
  }
}

// The end of the input is the end of the peer.
createInterface({ input: process.stdin }).on('line', run).on('close', () => process.exit())
console.log(`ready ${node.getMultiaddrs()[0]}`)
