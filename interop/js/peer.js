// A peer of js-libp2p's DHT that is driven by lines of JSON: it prints its name
// and addresses, then answers each line {"op": ..., ...} with one line
// {"ok": ...} or {"error": "..."}. Bytes are in base64. It ends with its input.
import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'

// Node 20 lacks it, and js-libp2p 3 uses it.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new Promise((res, rej) => { resolve = res; reject = rej })
  return { promise, resolve, reject }
}

const { noise } = await import('@chainsafe/libp2p-noise')
const { yamux } = await import('@chainsafe/libp2p-yamux')
const { identify } = await import('@libp2p/identify')
const { kadDHT, passthroughMapper } = await import('@libp2p/kad-dht')
const { peerIdFromString } = await import('@libp2p/peer-id')
const { ping } = await import('@libp2p/ping')
const { tcp } = await import('@libp2p/tcp')
const { multiaddr } = await import('@multiformats/multiaddr')
const { createLibp2p } = await import('libp2p')
const { CID } = await import('multiformats/cid')

const prefix = process.argv[2]

// The namespace sha256 of Shoal's own networks: the key is the value's hash.
const validate = async (key, value) => {
  const want = '/sha256/' + createHash('sha256').update(value).digest('hex')
  if (new TextDecoder().decode(key) !== want) {
    throw new Error(`the value is not that of ${new TextDecoder().decode(key)}`)
  }
}

const node = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    ping: ping(),
    dht: kadDHT({
      protocol: `${prefix}/kad/1.0.0`,
      clientMode: false,
      peerInfoMapper: passthroughMapper, // else it ignores private addresses
      validators: { sha256: validate },
      selectors: { sha256: () => 0 }
    })
  }
})
const dht = node.services.dht

const bytes = (text) => new Uint8Array(Buffer.from(text, 'base64'))

// collect runs a query and returns what pick finds in its events.
const collect = async (events, pick) => {
  const found = []
  for await (const event of events) {
    found.push(...pick(event))
  }
  return found
}

const withAddresses = ({ id, multiaddrs }) => ({ id: id.toString(), addrs: multiaddrs.map(String) })

const operations = {
  connect: async ({ addr }) => { await node.dial(multiaddr(addr)); return true },
  known: async () => dht.routingTable.size,
  put: async ({ key, value }) => collect(dht.put(new TextEncoder().encode(key), bytes(value)),
    (e) => e.name === 'PEER_RESPONSE' && e.messageName === 'PUT_VALUE' ? [e.from.toString()] : []),
  get: async ({ key }) => collect(dht.get(new TextEncoder().encode(key)),
    (e) => e.name === 'VALUE' ? [Buffer.from(e.value).toString('base64')] : []),
  provide: async ({ cid }) => collect(dht.provide(CID.parse(cid)),
    (e) => e.name === 'PEER_RESPONSE' && e.messageName === 'ADD_PROVIDER' ? [e.from.toString()] : []),
  providers: async ({ cid }) => collect(dht.findProviders(CID.parse(cid)),
    (e) => e.name === 'PROVIDER' ? e.providers.map(withAddresses) : []),
  peer: async ({ id }) => collect(dht.findPeer(peerIdFromString(id)),
    (e) => e.name === 'FINAL_PEER' ? [withAddresses(e.peer)] : []),
  closest: async ({ key }) => collect(dht.getClosestPeers(new TextEncoder().encode(key)),
    (e) => e.name === 'FINAL_PEER' ? [e.peer.id.toString()] : [])
}

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')

say({ id: node.peerId.toString(), addrs: node.getMultiaddrs().map(String) })
for await (const line of createInterface({ input: process.stdin })) {
  try {
    const { op, ...rest } = JSON.parse(line)
    say({ ok: await operations[op](rest) })
  } catch (err) {
    say({ error: String(err?.stack ?? err) })
  }
}
await node.stop()
