// The composed engine with every part in this process, and a clock that tests move.
import { randomBytes } from 'node:crypto'
import { Keyv } from 'keyv'
import type { Factory } from '../../src/conformance/index.ts'
import type { Engine } from '../../src/contract/engine.ts'
import type { ComposedOptions } from '../../src/engines/composed/index.ts'
import { composed } from '../../src/engines/composed/index.ts'
import { MemoryBroker, MemoryTransport } from '../../src/transports/memory.ts'

export const newPrefix = (): string => `t${randomBytes(6).toString('hex')}`

export interface MemoryPlace {
  map: Map<string, unknown>
  prefix: string
  /** A look into the broker that all engines share. */
  queue: MemoryTransport
  /** Engines that share everything but their connections. */
  connect(parts?: Partial<ComposedOptions>): Promise<Engine>
  advance(ms: number): void
}

export function memoryPlace(parts: Partial<ComposedOptions> = {}): MemoryPlace {
  let time = 1_750_000_000_000
  const now = (): number => time
  const map = new Map<string, unknown>()
  const broker = new MemoryBroker({ now })
  const prefix = newPrefix()
  return {
    map,
    prefix,
    queue: new MemoryTransport({ broker }),
    async connect(more) {
      const tasks = new Keyv({ store: map })
      const engine = composed({
        tasks,
        queue: new MemoryTransport({ broker }),
        prefix,
        now,
        ...parts,
        ...more,
      })
      await engine.open()
      return engine
    },
    advance: (ms) => {
      time += ms
    },
  }
}

export const memoryFactory = (name: string, parts: Partial<ComposedOptions> = {}): Factory => ({
  name,
  async create() {
    const place = memoryPlace(parts)
    return {
      unitMs: 1_000,
      // The broker orders runs that were delayed, released or behind another.
      firstInFirstOut: false,
      ordersByDueTime: false,
      connect: () => place.connect(),
      advance: async (ms) => place.advance(ms),
      async corrupt(id) {
        await new Keyv({ store: place.map }).set(`${place.prefix}.k.${id.slice(0, 64)}`, 'damaged')
      },
      close: async () => {},
    }
  },
})
