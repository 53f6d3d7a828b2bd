// libp2p 3 uses this, and Node 20 does not have it yet.
Promise.withResolvers ??= function withResolvers () {
  let resolve, reject
  const promise = new this((fulfil, fail) => { [resolve, reject] = [fulfil, fail] })
  return { promise, resolve, reject }
}
