// The conformance suite over PostgreSQL, and through a pooler whose sessions last one transaction.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { conformance } from '../../src/conformance/index.ts'
import type { PostgresServer } from '../servers/postgres.ts'
import { startPgbouncer } from '../servers/postgres.ts'
import { sharedUrl } from '../servers/shared.ts'
import { postgresFactory } from './factory.ts'

let pooler: PostgresServer
beforeAll(async () => {
  pooler = await startPgbouncer(sharedUrl('postgres'))
}, 300_000)
afterAll(() => pooler?.stop())

const factories = [
  postgresFactory('postgres', () => ({ url: sharedUrl('postgres') })),
  postgresFactory('postgres behind pgbouncer', () => ({
    url: pooler.url,
    listenUrl: sharedUrl('postgres'),
  })),
]

// The cases wait for the server's clock more than they work, and each has a store of its own.
/** For a case that is played again because the machine stood still. */
const LONG_MS = 60_000

describe.concurrent('conformance', () => {
  for (const factory of factories) {
    for (const { name, run } of conformance(factory)) test(name, run, LONG_MS)
  }
})
