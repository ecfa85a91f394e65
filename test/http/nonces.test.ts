// An id is spent once, whichever instance it reaches first and wherever the store lies.
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { DEFAULT_LOGGER, unfailing } from '../../src/base/log.ts'
import { eventually } from '../../src/conformance/scene.ts'
import { Nonces } from '../../src/http/nonces.ts'
import { DeferQ } from '../../src/index.ts'
import { memoryFactory } from '../composed/memory.ts'
import { dropSchema } from '../postgres/factory.ts'
import { newPrefix } from '../redis/factory.ts'
import { sharedUrl } from '../servers/shared.ts'

const folder = mkdtempSync(join(tmpdir(), 'deferq-nonces-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const STORES: Record<string, () => string> = {
  sqlite: () => `sqlite:${folder}/deferq.db`,
  redis: () => `${sharedUrl('redis')}?prefix=${newPrefix()}`,
  postgres: () => `${sharedUrl('postgres')}?schema=${newPrefix()}`,
}

test('and so in a composed store, whose steps are made of locks', async () => {
  const place = await memoryFactory('composed').create()
  const engines = await Promise.all([place.connect(), place.connect(), place.connect()])
  const nonces = engines.map((engine) => new Nonces(async () => engine, unfailing(DEFAULT_LOGGER)))
  const answers = await Promise.allSettled(
    Array.from({ length: 9 }, (_, index) => (nonces[index % 3] as Nonces).spend('one', Date.now())),
  )
  expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  for (const engine of engines) await engine.close()
  await place.close()
})

test.each(Object.keys(STORES))('of those that bring one id to %s at once, one is first', async (name) => {
  const url = (STORES[name] as () => string)()
  const instances = Array.from({ length: 3 }, () => new DeferQ({ url }))
  try {
    const nonces = instances.map((deferq) => new Nonces(() => deferq.open(), unfailing(deferq.logger)))
    for (let round = 0; round < 20; round++) {
      const id = randomBytes(12).toString('hex')
      const answers = await Promise.allSettled(
        Array.from({ length: 9 }, (_, index) => (nonces[index % 3] as Nonces).spend(id, Date.now())),
      )
      expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      for (const answer of answers) {
        if (answer.status === 'rejected')
          expect(answer.reason).toMatchObject({ code: 'INVALID_SIGNATURE', details: { reason: 'replayed' } })
      }
      // Also once it has been put aside.
      if (round % 10 !== 9) continue
      const [deferq] = instances as [DeferQ]
      await eventually('it is put aside', async () => (await deferq.stats()).lanes.length === 0)
      await expect((nonces[0] as Nonces).spend(id, Date.now())).rejects.toMatchObject({
        code: 'INVALID_SIGNATURE',
      })
    }
  } finally {
    for (const deferq of instances) await deferq.close()
    const schema = new URL(url).searchParams.get('schema')
    if (schema !== null) await dropSchema(sharedUrl('postgres'), schema)
  }
})
