// A bridge that dies between two steps: what it had in hand comes again, runs no second time, and is set aside once.
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { openTransport } from '../../src/transports/open.ts'
import { eventually } from '../facade/places.ts'
import { journal, start } from '../faults/processes.ts'
import { sharedUrl } from '../servers/shared.ts'
import { letter } from './scene.ts'

const COUNT = 30
// Each test starts processes one after another, and waits for leases to pass.
vi.setConfig({ testTimeout: 60_000 })

async function file(name: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'deferq-test-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return `sqlite:${join(folder, name)}`
}
const redis = async (): Promise<string> => `${sharedUrl('redis')}?prefix=t${randomUUID().slice(0, 8)}`

const PLACES = {
  'store in SQLite, broker in Redis': async () => ({
    url: await file('store.db'),
    broker: sharedUrl('redis'),
  }),
  'store in Redis, broker in SQLite': async () => ({ url: await redis(), broker: await file('broker.db') }),
}

for (const [place, open] of Object.entries(PLACES)) {
  async function dying(urn: string, dieAt: string) {
    const { url, broker } = await open()
    const queue = `crash-${randomUUID()}`
    const { file: log, lines } = await journal()
    const transport = await openTransport(broker)()
    onTestFinished(() => transport.close())
    await transport.open()
    await transport.publish(
      Array.from({ length: COUNT }, (_, n) => ({ queue, body: Buffer.from(letter(urn, { n })) })),
    )
    const first = await start('../bridge/crashing', url, broker, queue, log, dieAt)
    expect(await first.ended()).toMatchObject({ signal: 'SIGKILL' })
    expect(lines('dies')).toEqual([['dies', dieAt]])
    const second = await start('../bridge/crashing', url, broker, queue, log, 'never')
    return { transport, queue, second, lines }
  }

  // What was under way when the process died has another attempt; a second run would have another id.
  const oneRunEach = (lines: string[][]): void => {
    expect(new Set(lines.map(([, n]) => n)).size).toBe(COUNT)
    expect(new Set(lines.map(([, n, id]) => `${n} ${id}`)).size).toBe(COUNT)
  }

  test(`killed between admit and ack: every message is one run [${place}]`, async () => {
    const { transport, queue, second, lines } = await dying('urn:works', 'ack')
    await eventually('nothing is left', async () => {
      const [depth] = await transport.depth([queue])
      return depth?.ready === 0 && depth.reserved === 0
    })
    await eventually('all have run', () => new Set(lines('works').map(([, n]) => n)).size === COUNT)
    second.signal('SIGTERM')
    const { said } = await second.ended()
    // It did get them again, and told them.
    expect(JSON.parse(said).acked).toBeGreaterThan(0)
    oneRunEach(lines('works'))
  })

  test(`killed before a dead letter is published: every message is set aside once [${place}]`, async () => {
    const { transport, queue, second, lines } = await dying('urn:fails', 'publish')
    const dead = `${queue}.dlq`
    await eventually('all are set aside', async () => (await transport.depth([dead]))[0]?.ready === COUNT)
    second.signal('SIGTERM')
    await second.ended()
    oneRunEach(lines('fails'))
    const texts = (await transport.peek(dead, 100)).map(({ body }) => Buffer.from(body).toString())
    const numbers = texts.map((text) => JSON.parse(text).data.n as number)
    expect(numbers.sort((a, b) => a - b)).toEqual(Array.from({ length: COUNT }, (_, n) => n))
    expect(texts.every((text) => JSON.parse(text).dead_letter.reason === 'failed')).toBe(true)
  })
}

test('a message that kills its worker does so as often as it has attempts, and is set aside', async () => {
  const url = await file('store.db')
  const broker = await file('broker.db')
  const { file: log, lines } = await journal()
  const transport = await openTransport(broker)()
  onTestFinished(() => transport.close())
  await transport.open()
  await transport.publish([{ queue: 'q', body: Buffer.from(letter('urn:kills')) }])
  for (let death = 1; death <= 3; death++) {
    const { ended } = await start('../bridge/crashing', url, broker, 'q', log, 'never')
    expect(await ended()).toMatchObject({ signal: 'SIGKILL' })
    expect(lines('kills')).toHaveLength(death)
  }
  const last = await start('../bridge/crashing', url, broker, 'q', log, 'never')
  await eventually('it is set aside', async () => (await transport.depth(['q.dlq']))[0]?.ready === 1)
  last.signal('SIGTERM')
  expect((await last.ended()).code).toBe(0)
  const [message] = await transport.peek('q.dlq', 1)
  expect(JSON.parse(Buffer.from(message?.body ?? []).toString()).dead_letter).toMatchObject({
    reason: 'failed',
    error: expect.stringMatching(/Attempt 3 ended with its worker/),
    attempts: 3,
  })
  expect(lines('kills')).toHaveLength(3)
})
