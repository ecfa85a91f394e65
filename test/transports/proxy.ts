// A way to a server that can lose an answer: the request arrives, the answer doesn't, and the connection is gone.
import type { AddressInfo, Socket } from 'node:net'
import { connect, createServer } from 'node:net'
import { onTestFinished } from 'vitest'

export interface Proxy {
  port: number
  /** The next answer is lost, and with it its connection; what is sent after that arrives once `meanwhile` is over. */
  loseNextAnswer(meanwhile?: () => Promise<void>): void
  lost(): number
  /** Whoever is connected now gets no more answers, and is not cut off either. */
  silence(): void
  /** The clients are cut off; what they have sent still reaches the server. */
  hangUp(): void
}

export async function proxyTo(port: number): Promise<Proxy> {
  const sockets = new Set<Socket>()
  const clients = new Set<Socket>()
  const silent = new WeakSet<Socket>()
  let losing = false
  let during: (() => Promise<void>) | undefined
  let held = Promise.resolve()
  let lost = 0
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1')
    clients.add(client)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        // One that was cut off stays open on its other side.
        if (!clients.delete(client) && socket === client) return
        client.destroy()
        upstream.destroy()
      })
    }
    client.on('data', (chunk) => void held.then(() => upstream.write(chunk)))
    upstream.on('data', (chunk) => {
      if (silent.has(client)) return
      if (!losing) return void client.write(chunk)
      losing = false
      lost++
      client.destroy()
      upstream.destroy()
      if (during !== undefined) held = during()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return {
    port: (server.address() as AddressInfo).port,
    loseNextAnswer: (meanwhile) => {
      losing = true
      during = meanwhile
    },
    lost: () => lost,
    silence: () => {
      for (const client of clients) silent.add(client)
    },
    hangUp: () => {
      const cut = [...clients]
      clients.clear()
      for (const client of cut) client.destroy()
    },
  }
}
