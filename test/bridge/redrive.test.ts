// What was set aside goes back as it was: all of it or what is selected, to where it came from or elsewhere, or only said.

import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { annotated } from '../../src/bridge/envelope.ts'
import { describe as look, redrive } from '../../src/bridge/redrive.ts'
import type { Transport } from '../../src/contract/transport.ts'
import { NoRetryError, task } from '../../src/index.ts'
import { MemoryTransport, openTransport } from '../../src/transports/open.ts'
import { eventually, failing, memory, working } from '../facade/places.ts'
import { sharedUrl } from '../servers/shared.ts'
import { bridging, letter, post } from './scene.ts'

const RAW = Buffer.from([0x7b, 0xff, 0x00, 0x22])
const why = (original_queue: string, reason: 'failed' | 'poison' = 'failed') => ({
  reason,
  error: 'no',
  exception: null,
  failed_at: 1,
  original_queue,
  attempts: 3,
  lang: 'php' as const,
})
const aside = (text: string, queue: string, reason?: 'failed' | 'poison'): Buffer =>
  annotated(Buffer.from(text), why(queue, reason)) as Buffer

const PLACES: Record<string, () => Promise<Transport>> = {
  memory: async () => new MemoryTransport(),
  sqlite: async () => {
    const folder = await mkdtemp(join(tmpdir(), 'deferq-test-'))
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    return openTransport(`sqlite:${join(folder, 'queue.db')}`)()
  },
  redis: () => openTransport(sharedUrl('redis'))(),
}

for (const [name, open] of Object.entries(PLACES)) {
  test(`every kind of message comes back byte by byte, an envelope with the time of that [${name}]`, async () => {
    const transport = await open()
    onTestFinished(() => transport.close())
    await transport.open()
    const queue = `q${randomUUID()}`
    for (const dryRun of [true, false])
      expect(await redrive(transport, queue, { dryRun }), 'nothing there yet').toMatchObject({
        count: 0,
        looked: 0,
      })
    const one = letter('urn:a', { n: 1 }).replace('"n":1', '"n" : 12345678901234567890')
    const spent = letter('urn:b', { n: 2 }, { attempts: 3 })
    const bodies = [aside(one, queue), aside(spent, 'elsewhere'), RAW, aside('{"x":1}', queue, 'poison')]
    await transport.publish(bodies.map((body) => ({ queue: `${queue}.dlq`, body })))
    const dry = await redrive(transport, queue, { dryRun: true })
    expect(dry).toMatchObject({
      from: `${queue}.dlq`,
      count: 4,
      looked: 4,
      sent: { [queue]: 3, elsewhere: 1 },
    })
    expect(await transport.depth([`${queue}.dlq`, queue])).toMatchObject([{ ready: 4 }, { ready: 0 }])
    const done = await redrive(transport, `${queue}.dlq`)
    expect(done).toMatchObject({ count: 4, looked: 4, sent: { [queue]: 3, elsewhere: 1 } })
    const texts = async (from: string) =>
      (await transport.peek(from, 10)).map(({ body }) => Buffer.from(body))
    const home = await texts(queue)
    const [{ redriven_at: at }] = home.slice(0, 1).map((body) => JSON.parse(`${body}`))
    expect(Math.abs(at - Date.now())).toBeLessThan(10_000)
    const marked = (text: string) => `${text.slice(0, -1)},"redriven_at":${at}}`
    expect(home).toEqual([Buffer.from(marked(one)), RAW, Buffer.from('{"x":1}')])
    const [other] = await texts('elsewhere')
    const again = spent.replace('"attempts":3', '"attempts":0')
    expect(`${other}`.replace(/"redriven_at":\d+/, '"redriven_at":0')).toBe(
      `${again.slice(0, -1)},"redriven_at":0}`,
    )
    expect(await transport.depth([`${queue}.dlq`])).toMatchObject([{ ready: 0 }])
    const held = await transport.reserve({ queues: [queue, 'elsewhere'], limit: 10, visibilityMs: 1_000 })
    await transport.ack(held)
  })

  test(`what is selected goes, the rest stays in its order; max and to are kept [${name}]`, async () => {
    const transport = await open()
    onTestFinished(() => transport.close())
    await transport.open()
    const queue = `q${randomUUID()}`
    const dead = `${queue}.dlq`
    const put = Array.from({ length: 250 }, (_, n) =>
      aside(letter(n % 2 ? 'urn:odd' : 'urn:even', { n }), queue),
    )
    await transport.publish(put.map((body) => ({ queue: dead, body })))
    const some = await redrive(transport, queue, {
      select: ({ urn }) => urn === 'urn:odd',
      to: `${queue}-other`,
      max: 40,
    })
    expect(some).toMatchObject({ count: 40, sent: { [`${queue}-other`]: 40 } })
    expect(some.looked).toBeLessThanOrEqual(200)
    const [left, other, home] = await transport.depth([dead, `${queue}-other`, queue])
    expect([left?.ready, other?.ready, home?.ready]).toEqual([210, 40, 0])
    const rest = await redrive(transport, queue, { select: ({ urn }) => urn === 'urn:odd' })
    expect(rest).toMatchObject({ count: 85, looked: 210 })
    const evens = (await transport.peek(dead, 200)).map(
      (message) => look(message).found?.data as { n: number },
    )
    expect(evens.length).toBe(125)
    expect(evens.every(({ n }) => n % 2 === 0)).toBe(true)
    const all = await redrive(transport, queue)
    expect(all).toMatchObject({ count: 125, looked: 125 })
  })
}

/** A deferq whose task fails for good, until it is mended. */
function breaking() {
  let broken = true
  let runs = 0
  const run = (): void => {
    runs++
    if (broken) throw new NoRetryError('broken')
  }
  const mend = (): void => {
    broken = false
  }
  return { deferq: memory().deferq({ tasks: [task('urn:a', { run })] }), runs: () => runs, mend }
}

test('a message that failed, was set aside and redriven, runs again', async () => {
  const { deferq, runs, mend } = breaking()
  const { put, transport, texts, emptied } = post()
  await put('orders', letter('urn:a'), 'garbage')
  bridging(deferq, { transport: transport(), queues: ['orders'] })
  working(deferq)
  await eventually('both are set aside', async () => (await texts('orders.dlq')).length === 2)
  mend()
  expect(await redrive(transport(), 'orders')).toMatchObject({ count: 2 })
  await eventually('it has run again', () => runs() === 2)
  await eventually('the garbage is back', async () => (await texts('orders.dlq')).length === 1)
  await emptied('orders')
  expect(await texts('orders.dlq')).toEqual(['garbage'])
  expect(runs()).toBe(2)
})

test('a redriven message whose first bridge dies before it is admitted runs again all the same', async () => {
  const { deferq, runs, mend } = breaking()
  const { put, transport, texts, emptied } = post()
  const first = bridging(deferq, { transport: transport(), queues: ['orders'] })
  working(deferq)
  await put('orders', letter('urn:a'))
  await eventually('it is set aside', async () => (await texts('orders.dlq')).length === 1)
  await first.close()
  mend()
  await redrive(transport(), 'orders')
  // Who takes it never comes back, so that the next one sees it as handed out before.
  const [held] = await transport().reserve({ queues: ['orders'], limit: 1, visibilityMs: 1 })
  expect(held?.deliveries).toBe(0)
  bridging(deferq, { transport: transport(), queues: ['orders'] })
  await eventually('it has run again', () => runs() === 2)
  await emptied('orders')
  expect(await texts('orders.dlq')).toEqual([])
})

test('headers that say why it was set aside go, and the attempts start again', async () => {
  const transport = new MemoryTransport()
  const headers = {
    'x-dead-letter-reason': 'poison',
    'x-dead-letter-queue': 'home',
    'x-dead-letter-error': 'e',
    'x-attempts': 3,
    own: 1,
  }
  await transport.publish([{ queue: 'q.dlq', body: RAW, properties: { type: 't', headers } }])
  const [message] = await transport.peek('q.dlq', 1)
  expect(look(message as never)).toMatchObject({ reason: 'poison', error: 'e', originalQueue: 'home' })
  await redrive(transport, 'q')
  expect(await transport.peek('home', 1)).toMatchObject([
    { body: new Uint8Array(RAW), properties: { type: 't', headers: { 'x-attempts': 0, own: 1 } } },
  ])
})

test('what makes no sense is refused', async () => {
  const transport = new MemoryTransport()
  await failing('INVALID_OPTION', redrive(transport, 'q', { to: 'q.dlq' }))
  await failing('INVALID_OPTION', redrive(transport, '', {}))
  await failing('INVALID_OPTION', redrive(transport, 'q', { max: 0 }))
  await failing('INVALID_OPTION', redrive(transport, 'q', { all: true } as never))
})
