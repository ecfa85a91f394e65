// The conformance suite over the memory transport.
import { test } from 'vitest'
import type { TransportFactory } from '../../src/conformance/index.ts'
import { transportConformance } from '../../src/conformance/index.ts'
import { MemoryBroker, MemoryTransport } from '../../src/transports/memory.ts'

const memory: TransportFactory = {
  name: 'memory',
  async create() {
    let now = 1_750_000_000_000
    const broker = new MemoryBroker({ now: () => now })
    return {
      unitMs: 250,
      connect: async () => new MemoryTransport({ broker }),
      advance: async (ms) => {
        now += ms
      },
      close: async () => {},
    }
  },
}

for (const { name, run } of transportConformance(memory)) test.concurrent(name, run)
