// Stores for the conformance suite on a real PostgreSQL: each in a schema of its own, with the server's own clock.
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Factory } from '../../src/conformance/index.ts'
import { PostgresDriver, quoted } from '../../src/drivers/postgres.ts'
import type { PostgresEngineOptions } from '../../src/engines/postgres/index.ts'
import { PostgresEngine } from '../../src/engines/postgres/index.ts'

export const newSchema = (): string => `t${randomBytes(6).toString('hex')}`

export async function dropSchema(url: string, schema: string): Promise<void> {
  const driver = new PostgresDriver({ url, connections: 1, timeoutMs: 20_000 })
  await driver.query(`drop schema if exists ${quoted(schema)} cascade`)
  await driver.close()
}

export function postgresFactory(
  name: string,
  options: () => PostgresEngineOptions & { url: string },
): Factory {
  return {
    name,
    async create() {
      const schema = newSchema()
      return {
        unitMs: 350,
        async connect() {
          // All cases at once share the few connections of a pooler: on a busy machine one may wait for long.
          const engine = new PostgresEngine({ connections: 2, timeoutMs: 20_000, ...options(), schema })
          engine.listen(() => undefined)
          await engine.open()
          return engine
        },
        advance: async (ms) => {
          await sleep(ms)
        },
        close: () => dropSchema(options().url, schema),
      }
    },
  }
}
