// Runs the transport conformance suite over the transport of transport.ts, with a clock that the suite moves.
import { test } from 'node:test'
import type { TransportFactory } from 'deferq/conformance'
import { transportConformance } from 'deferq/conformance'
import { ListBroker, ListTransport } from './transport.js'

const factory: TransportFactory = {
  name: 'list',
  async create() {
    let now = Date.now()
    const broker = new ListBroker(() => now)
    return {
      unitMs: 250,
      connect: async () => new ListTransport(broker),
      advance: async (ms: number) => {
        now += ms
      },
      close: async () => {},
    }
  },
}

for (const { name, run } of transportConformance(factory)) test(name, run)
