// Runs the conformance suite over the engine of engine.ts, with a clock that the suite moves.
import { test } from 'node:test'
import type { Factory } from 'deferq/conformance'
import { conformance } from 'deferq/conformance'
import { MapEngine, MapStore } from './engine.js'

const factory: Factory = {
  name: 'map',
  async create() {
    let now = Date.now()
    const store = new MapStore(() => now)
    return {
      unitMs: 1_000,
      connect: async () => new MapEngine(store),
      advance: async (ms: number) => {
        now += ms
      },
      close: async () => {},
    }
  },
}

for (const { name, run } of conformance(factory)) test(name, run)
