// The conformance suite over the SQL transport: on a SQLite file and on PostgreSQL.
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'vitest'
import type { TransportFactory } from '../../src/conformance/index.ts'
import { transportConformance } from '../../src/conformance/index.ts'
import { SqlTransport } from '../../src/transports/sql/index.ts'
import { sharedUrl } from '../servers/shared.ts'

const skips = { 'properties travel beside the body': 'the table has no column beside the body' }

const sqlite: TransportFactory = {
  name: 'sqlite',
  skips,
  async create() {
    let now = 1_750_000_000_000
    const folder = await mkdtemp(join(tmpdir(), 'deferq-test-'))
    return {
      unitMs: 250,
      async connect() {
        const transport = new SqlTransport({ file: join(folder, 'store.db'), now: () => now })
        await transport.open()
        return transport
      },
      advance: async (ms) => {
        now += ms
      },
      close: () => rm(folder, { recursive: true, force: true }),
    }
  },
}

const schema = `transports_${randomBytes(4).toString('hex')}`

const postgres: TransportFactory = {
  name: 'postgres',
  skips,
  async create() {
    const url = sharedUrl('postgres')
    return {
      unitMs: 250,
      async connect() {
        const transport = new SqlTransport({ url, schema, connections: 1 })
        await transport.open()
        return transport
      },
      advance: (ms) => sleep(ms),
      close: async () => {},
    }
  },
}

for (const factory of [sqlite, postgres]) {
  for (const { name, run, skip } of transportConformance(factory)) {
    if (skip === undefined) test.concurrent(name, run)
    else test.skip(`${name} (${skip})`)
  }
}
