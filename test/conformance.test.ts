// The conformance suite over the memory engine; each other engine runs it in a folder of its own.

import { test } from 'vitest'
import type { Factory } from '../src/conformance/index.ts'
import { conformance } from '../src/conformance/index.ts'
import { MemoryEngine, MemoryStore } from '../src/engines/memory/index.ts'

const memory: Factory = {
  name: 'memory',
  async create() {
    let now = 1_750_000_000_000
    const store = new MemoryStore(() => now)
    return {
      unitMs: 1_000,
      connect: async () => new MemoryEngine({ store }),
      advance: async (ms) => {
        now += ms
      },
      close: async () => {},
    }
  },
}

for (const { name, run } of conformance(memory)) test(name, run)
