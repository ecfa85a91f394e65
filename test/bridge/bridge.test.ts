// The bridge: what becomes of each kind of message, that a redelivery is no second run, and that no message harms another.
import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { BridgeEvent } from '../../src/bridge/index.ts'
import { Bridge, Producer } from '../../src/bridge/index.ts'
import { DeferQ, NoRetryError, RetryAtError, task } from '../../src/index.ts'
import {
  AWAY,
  breakable,
  eventually,
  everywhere,
  failing,
  listening,
  memory,
  working,
} from '../facade/places.ts'
import { met } from './met.ts'
import { bridging, letter, post } from './scene.ts'

const URN = 'urn:babel:orders:created'
const ANNOTATED = /,"dead_letter":\{.*\}\}$/s

/** A deferq whose task URN notes what it is given. */
function noting(place = memory(), fail?: (attempt: number) => unknown) {
  const runs: unknown[] = []
  const { logger, lines, said } = listening()
  const deferq = place.deferq({
    logger,
    tasks: [
      task(URN, {
        backoff: 0,
        run: (params: object, context) => {
          runs.push(params)
          const error = fail?.(context.attempt)
          if (error !== undefined) throw error
          return runs.length
        },
      }),
    ],
  })
  return { deferq, runs, lines, said }
}

everywhere('a message runs once, and is acknowledged only when it is admitted', async (place) => {
  const { deferq, runs } = noting(place)
  const { put, transport, emptied } = post()
  const id = randomUUID()
  await put('orders', letter(URN, { n: 1 }, { id }), letter(URN, { n: 2 }), letter(URN, { n: 1 }, { id }))
  const bridge = bridging(deferq, { transport: transport(), queues: ['orders'] })
  await emptied('orders')
  expect(runs).toEqual([])
  working(deferq)
  await eventually('both have run', () => runs.length === 2)
  // Also when it has completed, within the time for which it is remembered.
  await put('orders', letter(URN, { n: 1 }, { id }))
  await emptied('orders')
  expect(await bridge.stop()).toMatchObject({ reason: 'stopped', reserved: 4, acked: 4 })
  expect(runs).toHaveLength(2)
  expect(runs).toEqual(expect.arrayContaining([{ n: 1 }, { n: 2 }]))
})

everywhere('one that fails for good is set aside once, with its annotation and its bytes', async (place) => {
  const { deferq, runs, said } = noting(place, (attempt) => new TypeError(`no stock at ${attempt}`))
  const { put, transport, texts, emptied } = post()
  // What a double can't hold, and what others add, has to come through as it is.
  const body = letter(URN, { n: 1 }, { trace: 'trace 1', attempts: 1 })
    .replace('"n":1', '"n":12345678901234567890, "x" : 1.10')
    .replace('{"job"', '{"tenant":"a","job"')
  await put('orders', body)
  bridging(deferq, { transport: transport(), queues: ['orders'], maxAttempts: 3 })
  await emptied('orders')
  working(deferq)
  await eventually('it is set aside', async () => (await texts('orders.dlq')).length === 1)
  const [text] = (await texts('orders.dlq')) as [string]
  expect(text.replace(ANNOTATED, '}')).toBe(body)
  // One attempt was made elsewhere: two were left.
  expect(JSON.parse(text).dead_letter).toEqual({
    reason: 'failed',
    error: 'no stock at 2',
    exception: 'TypeError',
    failed_at: expect.any(Number),
    original_queue: 'orders',
    attempts: 3,
    lang: 'node',
  })
  expect(runs).toHaveLength(2)
  expect(runs[0]).toEqual({ n: 12345678901234567890n, x: 1.1 })
  expect(said(/set aside/)).toMatchObject([
    { level: 'error', details: { queue: 'orders', urn: URN, traceId: 'trace 1', reason: 'failed' } },
  ])
})

describe('a redelivery', () => {
  /** Handed out, and not acknowledged: as after a crash between admit and ack. */
  async function redeliver(queue: string, box: ReturnType<typeof post>): Promise<void> {
    const consumer = box.transport()
    await consumer.reserve({ queues: [queue], limit: 1, visibilityMs: 60_000 })
    await consumer.close()
  }

  test('of what has failed is no second run, and no second dead letter', async () => {
    const { deferq, runs } = noting(memory(), () => new NoRetryError('broken'))
    const box = post()
    const body = letter(URN)
    await box.put('orders', body)
    const transport = box.transport()
    bridging(deferq, { transport, queues: ['orders'] })
    working(deferq)
    await eventually('it is set aside', async () => (await box.texts('orders.dlq')).length === 1)
    // Of another queue, so that it is handed out once before the bridge sees it.
    await box.put('again', body)
    await redeliver('again', box)
    bridging(deferq, { transport, queues: ['again'] })
    await box.emptied('again')
    // What a wrong bridge would have started by then: another message goes the whole way.
    await box.put('orders', letter(URN, { last: true }))
    await eventually('the last is set aside', async () => (await box.texts('orders.dlq')).length === 2)
    expect(runs).toEqual([{}, { last: true }])
    expect(await box.texts('again.dlq')).toEqual([])
  })

  test('while it runs joins it, and a failure is set aside once', async () => {
    let go = (): void => {}
    const held = new Promise<void>((resolve) => {
      go = resolve
    })
    let runs = 0
    const deferq = memory().deferq({
      tasks: [
        task(URN, {
          retries: 0,
          run: async () => {
            runs++
            await held
            throw new Error('after all')
          },
        }),
      ],
    })
    const box = post()
    const body = letter(URN)
    await box.put('orders', body, body, body)
    const bridge = bridging(deferq, { transport: box.transport(), queues: ['orders'] })
    working(deferq)
    await box.emptied('orders')
    await eventually('it runs', () => runs === 1)
    go()
    await eventually(
      'the run has ended',
      async () => (await deferq.list({ name: URN, status: 'failed' })).receipts.length > 0,
    )
    await bridge.stop()
    await bridge.bury()
    expect(runs).toBe(1)
    expect(await box.texts('orders.dlq')).toHaveLength(1)
    expect((await deferq.stats()).lanes.every(({ pending, running }) => pending + running === 0)).toBe(true)
  })
})

test('what failed and is sent back runs again, and is set aside again', async () => {
  let broken = true
  const { deferq, runs } = noting(memory(), () => (broken ? new NoRetryError('broken') : undefined))
  const { put, transport, texts, emptied } = post()
  const body = letter(URN)
  await put('orders', body)
  bridging(deferq, { transport: transport(), queues: ['orders'] })
  working(deferq)
  await eventually('set aside', async () => (await texts('orders.dlq')).length === 1)
  await put('orders', body)
  await eventually('set aside again', async () => (await texts('orders.dlq')).length === 2)
  broken = false
  await put('orders', body)
  await eventually('it has run', () => runs.length === 3)
  await emptied('orders')
  expect(await texts('orders.dlq')).toHaveLength(2)
})

test('one whose run is cancelled is set aside too: nobody has done it', async () => {
  const { deferq, runs } = noting()
  const { put, transport, texts, emptied } = post()
  await put('orders', letter(URN))
  bridging(deferq, { transport: transport(), queues: ['orders'] })
  await emptied('orders')
  const [receipt] = (await deferq.list({ name: URN })).receipts
  await deferq.cancel(receipt?.taskId as string, 'not today')
  await eventually('it is set aside', async () => (await texts('orders.dlq')).length === 1)
  expect(JSON.parse((await texts('orders.dlq'))[0] as string).dead_letter).toMatchObject({
    reason: 'failed',
    error: 'not today',
    exception: 'DeferqError',
  })
  expect(runs).toEqual([])
})

test('each malformed message is set aside with its reason and its bytes, and harms no other', async () => {
  const { deferq, runs } = noting()
  const { put, transport, messages, emptied } = post()
  const good = letter(URN, { good: true })
  const deep = letter(URN).replace('"data":{}', `"data":{"a":${'['.repeat(5_000)}${']'.repeat(5_000)}}`)
  const bad: [body: string | Buffer, error: RegExp][] = [
    ['', /^undecodable: .*not JSON/],
    [good.slice(0, -7), /^undecodable/],
    [Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), /^undecodable: .*UTF-8/],
    [`\ufeff${good}`, /^undecodable/],
    [Buffer.alloc(1_048_576, 'garbage"{'), /^undecodable/],
    ['[]', /^undecodable: .*no JSON object/],
    [good.replace('"job"', '"jobs"'), /^missing_urn/],
    [good.replace('"meta"', '"mata"'), /^missing_meta/],
    [letter(URN, {}, { version: 2 }), /^unsupported_schema_version: .* is 2/],
    [good.replace('{"good":true}', '[]'), /^invalid_data/],
    [letter(URN, {}, { trace: '' }), /^missing_trace_id/],
    [good.replace('"attempts":0', '"attempts":-1'), /^invalid_attempts/],
    [good.replace('"meta":{"id"', '"meta":{"ID"'), /^meta\.id/],
    [letter(URN).replace('"data":{}', '"data":{"__proto__":{"a":1}}'), /^UNHASHABLE_PARAMS: /],
    [letter(URN).replace('"data":{}', '"data":{"$deferq":["Date","x"]}'), /^UNHASHABLE_PARAMS: /],
    [letter(URN, {}, { trace: 'x'.repeat(600) }), /^INVALID_OPTION: .*traceId/],
    [letter(URN, { big: 'x'.repeat(1_100_000) }), /^PARAMS_TOO_LARGE: /],
    [deep, /^PARAMS_TOO_LARGE: /],
  ]
  for (const [body] of bad) await put('orders', body, letter(URN, { good: true }))
  const bridge = bridging(deferq, { transport: transport(), queues: ['orders'] })
  await emptied('orders')
  expect(await bridge.stop()).toMatchObject({ acked: bad.length, deadLettered: bad.length })
  const aside = await messages('orders.dlq')
  expect(aside).toHaveLength(bad.length)
  for (const [index, { body, properties }] of aside.entries()) {
    const [raw, error] = bad[index] as [string | Buffer, RegExp]
    expect(properties?.headers).toMatchObject({
      'x-dead-letter-reason': 'poison',
      'x-dead-letter-queue': 'orders',
      'x-dead-letter-error': expect.stringMatching(error),
    })
    const text = Buffer.from(body).toString('latin1')
    expect(text.replace(ANNOTATED, '}') === Buffer.from(raw).toString('latin1')).toBe(true)
    if (!error.source.includes('undecodable')) {
      expect(JSON.parse(Buffer.from(body).toString()).dead_letter).toMatchObject({
        reason: 'poison',
        error: expect.stringMatching(error),
        original_queue: 'orders',
      })
    }
  }
  working(deferq)
  await eventually('all good ones have run', () => runs.length === bad.length)
})

test('one that came back too often because its consumer was gone is poison', async () => {
  const { deferq, runs } = noting()
  const { put, transport, texts, emptied } = post()
  await put('orders', letter(URN))
  for (let death = 0; death < 3; death++) {
    const consumer = transport()
    expect(await consumer.reserve({ queues: ['orders'], limit: 1, visibilityMs: 60_000 })).toHaveLength(1)
    await consumer.close()
  }
  bridging(deferq, { transport: transport(), queues: ['orders'], maxDeliveries: 2 })
  await emptied('orders')
  const [text] = (await texts('orders.dlq')) as [string]
  expect(JSON.parse(text).dead_letter).toMatchObject({
    reason: 'poison',
    error: expect.stringMatching(/3 times/),
  })
  expect(runs).toEqual([])
})

test('params that the task refuses are a failure, without an attempt', async () => {
  const refusing = {
    '~standard': {
      version: 1 as const,
      vendor: 'test',
      validate: () => ({ issues: [{ message: 'no total' }] }),
    },
  }
  const deferq = memory().deferq({ tasks: [task(URN, { schema: refusing, run: () => 1 })] })
  const { put, transport, texts, emptied } = post()
  await put('orders', letter(URN))
  bridging(deferq, { transport: transport(), queues: ['orders'] })
  await emptied('orders')
  const [text] = (await texts('orders.dlq')) as [string]
  expect(JSON.parse(text).dead_letter).toMatchObject({
    reason: 'failed',
    error: expect.stringMatching(/^INVALID_PARAMS: .*no total/),
    exception: 'DeferqError',
  })
})

test('a second message with the id of another is set aside', async () => {
  const { deferq, runs } = noting()
  const { put, transport, texts, emptied } = post()
  const id = randomUUID()
  await put('orders', letter(URN, { n: 1 }, { id }), letter(URN, { n: 2 }, { id }))
  bridging(deferq, { transport: transport(), queues: ['orders'] })
  await emptied('orders')
  expect(JSON.parse((await texts('orders.dlq'))[0] as string)).toMatchObject({
    data: { n: 2 },
    dead_letter: { reason: 'poison', error: expect.stringMatching(/same meta\.id/) },
  })
  working(deferq)
  await eventually('the first has run', () => runs.length === 1)
})

describe('an unknown URN', () => {
  const strange = letter('urn:babel:strange:thing', {}, { trace: 'strange' })

  async function unknown(strategy: 'fail' | 'delete' | 'release' | 'dead_letter' | undefined) {
    const { deferq, runs, lines } = noting()
    const box = post()
    const events: BridgeEvent[] = []
    await box.put('orders', strange, letter(URN))
    const bridge = bridging(deferq, {
      transport: box.transport(),
      queues: ['orders'],
      backoff: ['1ms', '2ms'],
      ...(strategy === undefined ? {} : { unknown: strategy }),
    })
    bridge.on('settled', (event) => events.push(event))
    working(deferq)
    await eventually('the other has run', () => runs.length === 1)
    return { ...box, bridge, events, lines }
  }

  test('is by default a failure, tried again and then set aside', async () => {
    const { texts, emptied, bridge, events, lines } = await unknown(undefined)
    await emptied('orders')
    const [text] = (await texts('orders.dlq')) as [string]
    const { dead_letter, ...rest } = JSON.parse(text)
    expect(dead_letter).toMatchObject({
      reason: 'unknown_urn',
      attempts: 3,
      error: expect.stringMatching(/strange/),
    })
    // Two releases have counted.
    expect({ ...rest, attempts: 0 }).toEqual(JSON.parse(strange))
    expect(rest.attempts).toBe(2)
    expect(await bridge.stop()).toMatchObject({ retried: 2, deadLettered: 1, acked: 1 })
    const of = { queue: 'orders', urn: 'urn:babel:strange:thing', traceId: 'strange' }
    expect(events.filter(({ traceId }) => traceId === 'strange')).toMatchObject([
      { ...of, outcome: 'retry' },
      { ...of, outcome: 'retry' },
      { ...of, outcome: 'dead_letter', reason: 'unknown_urn' },
    ])
    expect(lines.filter(({ details }) => details.traceId === 'strange')).toMatchObject([
      { level: 'warn', details: of, message: 'a message failed and is tried again' },
      { level: 'warn', details: of, message: 'a message failed and is tried again' },
      { level: 'error', details: of, message: 'a message was set aside' },
    ])
  })

  test('may be deleted', async () => {
    const { texts, emptied, events, lines } = await unknown('delete')
    await emptied('orders')
    expect(await texts('orders.dlq')).toEqual([])
    expect(events).toContainEqual(expect.objectContaining({ outcome: 'drop', traceId: 'strange' }))
    expect(lines).toContainEqual(expect.objectContaining({ level: 'warn', message: 'a message was deleted' }))
  })

  test('may be released as it is, for others', async () => {
    const { transport, events, bridge, texts } = await unknown('release')
    await eventually('it is released', () => events.some(({ outcome }) => outcome === 'release'))
    await bridge.stop()
    expect(await transport().depth(['orders'])).toMatchObject([{ ready: 0, delayed: 1 }])
    expect(await texts('orders.dlq')).toEqual([])
  })

  test('may be set aside at once', async () => {
    const { texts, emptied } = await unknown('dead_letter')
    await emptied('orders')
    const [text] = (await texts('orders.dlq')) as [string]
    expect(text.replace(ANNOTATED, '}')).toBe(strange)
    expect(JSON.parse(text).dead_letter).toMatchObject({ reason: 'unknown_urn', attempts: 0 })
  })
})

test('handlers by URN, a resolver, and what the task is named', async () => {
  const ran: unknown[] = []
  const note = (name: string) => task(name, { run: (params: unknown) => void ran.push([name, params]) })
  const imported = note('import')
  const deferq = memory().deferq({ tasks: [imported, note('export'), note('late'), note('plain')] })
  const { put, transport, emptied, texts } = post()
  await put(
    'orders',
    letter('urn:a', { n: 1 }),
    letter('urn:b', { n: 2 }),
    letter('urn:late:x', { n: 3 }),
    letter('plain', { n: 4 }),
    letter('urn:throws', { n: 5 }),
  )
  bridging(deferq, {
    transport: transport(),
    queues: ['orders'],
    handlers: { 'urn:a': imported, 'urn:b': 'export' },
    resolve: async (urn, { data }) => {
      if (urn === 'urn:throws') throw new RangeError(`not ${data.n}`)
      return urn.startsWith('urn:late:') ? 'late' : undefined
    },
    params: ({ data, meta }) => ({ ...data, lang: meta.lang }),
    maxAttempts: 1,
  })
  await emptied('orders')
  working(deferq)
  await eventually('all have run', () => ran.length === 4)
  expect(ran.sort()).toEqual([
    ['export', { n: 2, lang: 'php' }],
    ['import', { n: 1, lang: 'php' }],
    ['late', { n: 3, lang: 'php' }],
    ['plain', { n: 4, lang: 'php' }],
  ])
  expect(JSON.parse((await texts('orders.dlq'))[0] as string).dead_letter).toMatchObject({
    reason: 'failed',
    exception: 'RangeError',
    error: expect.stringMatching(/not 5/),
    attempts: 1,
  })
})

test('several queues, earlier ones first', async () => {
  const { deferq, runs } = noting()
  const { put, transport, emptied } = post()
  await put('low', letter(URN, { low: 1 }), letter(URN, { low: 2 }))
  await put('high', letter(URN, { high: 1 }), letter(URN, { high: 2 }))
  const bridge = new Bridge(deferq, {
    transport: transport(),
    queues: ['high', 'low'],
    prefetch: 1,
    stopWhenEmpty: true,
    wait: 10,
  })
  expect(await bridge.run()).toMatchObject({ reason: 'empty', acked: 4 })
  await emptied('low')
  working(deferq, { concurrency: 1 })
  await eventually('all have run', () => runs.length === 4)
  expect(runs).toEqual([{ high: 1 }, { high: 2 }, { low: 1 }, { low: 2 }])
})

test('maxMessages ends it', async () => {
  const { deferq } = noting()
  const { put, transport } = post()
  await put('orders', ...Array.from({ length: 5 }, (_, n) => letter(URN, { n })))
  const bridge = new Bridge(deferq, { transport: transport(), queues: ['orders'], maxMessages: 3 })
  expect(await bridge.run()).toMatchObject({ reason: 'maxMessages', reserved: 3, acked: 3 })
  expect(await transport().depth(['orders'])).toMatchObject([{ ready: 2, reserved: 0 }])
})

test('while the store is away nothing more is reserved, what is in hand is kept, and nothing is lost', async () => {
  const store = breakable()
  const runs: unknown[] = []
  const deferq = new DeferQ({
    engine: store.engine,
    logger: listening().logger,
    tasks: [task(URN, { run: (params) => void runs.push(params) })],
  })
  const { put, transport, emptied } = post()
  const consumer = transport()
  const bridge = bridging(deferq, { transport: consumer, queues: ['orders'], visibility: '1s', prefetch: 4 })
  await put('orders', letter(URN, { n: 0 }))
  await emptied('orders')
  store.break(['admit'])
  await put('orders', ...Array.from({ length: 20 }, (_, n) => letter(URN, { n: n + 1 })))
  const admits = (): number => store.calls.admit?.length ?? 0
  const before = admits()
  const since = performance.now()
  // Longer than the visibility: only heartbeats keep what is in hand.
  await eventually(
    'it has tried for a while',
    () => admits() > before + 3 && performance.now() - since > 1_500,
  )
  const [depth] = await consumer.depth(['orders'])
  expect(depth?.reserved).toBeLessThanOrEqual(4)
  expect(depth).toMatchObject({ ready: 20 - (depth?.reserved as number) })
  store.mend()
  await emptied('orders')
  expect(await bridge.stop()).toMatchObject({ reserved: 21, acked: 21, lost: 0 })
  working(deferq)
  await eventually('all have run', () => runs.length === 21)
})

test('stopped while the store is away, it gives back what it has', async () => {
  const store = breakable()
  const deferq = new DeferQ({
    engine: store.engine,
    logger: listening().logger,
    tasks: [task(URN, { run: () => 1 })],
  })
  const { put, transport } = post()
  const bridge = bridging(deferq, { transport: transport(), queues: ['orders'] })
  await bridge.deferq.open()
  store.break(['admit', 'settle', 'claim'])
  await put('orders', letter(URN), letter(URN))
  const consumer = transport()
  await eventually('both are in hand', async () => (await consumer.depth(['orders']))[0]?.reserved === 2)
  expect(await bridge.stop()).toMatchObject({ released: 2 })
  expect(await consumer.depth(['orders'])).toMatchObject([{ ready: 2, reserved: 0 }])
})

test('a broker that is away is waited for, and told again', async () => {
  const { deferq, runs } = noting()
  const { put, transport, emptied } = post()
  const away = new Set<string>(['open'])
  const flaky = met(transport(), (verb) => {
    if (away.has(verb)) throw AWAY
  })
  await put('orders', letter(URN, { n: 1 }))
  const troubles: string[] = []
  const bridge = new Bridge(deferq, { transport: flaky, queues: ['orders'], wait: 50 })
  bridge.on('trouble', (_, message) => troubles.push(message))
  const ran = bridge.run()
  await eventually('it has tried to connect', () => troubles.length > 1)
  away.clear()
  away.add('ack')
  await eventually('it has tried to acknowledge', () => troubles.some((each) => each.includes('(ack)')))
  away.add('reserve')
  await eventually('it has tried to reserve', () =>
    troubles.some((each) => each.includes('asked for messages')),
  )
  away.clear()
  await emptied('orders')
  await put('orders', letter(URN, { n: 2 }))
  await emptied('orders')
  await bridge.stop()
  expect(await ran).toMatchObject({ acked: 2, lost: 0 })
  working(deferq)
  await eventually('both have run', () => runs.length === 2)
})

test('dead letters wait for a broker that is away', async () => {
  const { deferq } = noting(memory(), () => new NoRetryError('broken'))
  const box = post()
  let away = true
  const flaky = met(box.transport(), (verb) => {
    if (verb === 'publish' && away) throw AWAY
  })
  await box.put('orders', letter(URN))
  bridging(deferq, { transport: flaky, queues: ['orders'] })
  working(deferq)
  await eventually('it waits', async () =>
    (await deferq.list({ name: 'deferq.bury:memory' })).receipts.some(({ history }) => history.length > 0),
  )
  away = false
  await eventually('it is set aside', async () => (await box.texts('orders.dlq')).length === 1)
})

test('the trace of a message goes through task, log and follow-ups into what the handler sends', async () => {
  const { logger, lines } = listening()
  const box = post()
  const producer = new Producer({ transport: box.transport() })
  const deferq = memory().deferq({
    logger,
    tasks: [
      task(URN, {
        backoff: 0,
        run: async (_: object, context) => {
          context.log.info({}, 'importing')
          if (context.attempt === 1) throw new RetryAtError(0)
          await deferq.dispatch('next', {})
        },
      }),
      task('next', {
        run: async (_: object, context) => {
          context.log.info({}, 'going on')
          await producer.send('urn:babel:orders:imported', { ok: true }, { queue: 'out' })
          await producer.send('urn:babel:orders:other', {}, { queue: 'out', traceId: 'other' })
        },
      }),
    ],
  })
  await box.put('orders', letter(URN, {}, { trace: 'trace 7' }))
  bridging(deferq, { transport: box.transport(), queues: ['orders'] })
  working(deferq)
  await eventually('both are out', async () => (await box.texts('out')).length === 2)
  expect((await box.texts('out')).map((text) => JSON.parse(text).trace_id)).toEqual(['trace 7', 'other'])
  const traced = lines.filter(({ details }) => details.traceId === 'trace 7').map(({ message }) => message)
  expect(traced).toEqual(
    expect.arrayContaining([
      'a message was admitted and acknowledged',
      'importing',
      `'${URN}' failed and is tried again`,
      'importing',
      'going on',
    ]),
  )
})

test('mistakes are refused when it is made', async () => {
  const deferq = memory().deferq({
    tasks: [task('a', { run: () => 1 }), task('scoped', { scope: true, run: () => 1 })],
  })
  const loose = memory().deferq()
  const transport = post().transport()
  const make = (options: object, of: typeof deferq | typeof loose = deferq) =>
    failing('INVALID_OPTION', () => new Bridge(of, { transport, queues: ['q'], ...options } as never))
  expect((await make({ que: 1 })).message).toMatch(/no option 'que'/)
  expect((await make({ url: 'memory:' })).message).toMatch(/either url or transport/)
  expect((await make({ transport: undefined })).message).toMatch(/either url or transport/)
  expect((await make({ queues: [] })).message).toMatch(/at least one queue/)
  expect((await make({ queues: ['q', 'q'] })).message).toMatch(/twice/)
  expect((await make({ unknown: 'ignore' })).message).toMatch(/use fail, delete, release, dead_letter/)
  expect((await make({ backoff: () => 1 })).message).toMatch(/can't travel/)
  expect((await make({ backoff: ['1x'] })).message).toMatch(/no duration/)
  expect((await make({ maxAttempts: 0 })).message).toMatch(/maxAttempts/)
  expect((await make({ prefetch: 0 })).message).toMatch(/prefetch/)
  expect((await make({ visibility: 10 })).message).toMatch(/visibility must be at least/)
  expect((await make({ resolve: 'a' })).message).toMatch(/must be a function/)
  expect((await make({ handlers: { 'urn:a': 7 } })).message).toMatch(/handlers\['urn:a'\]/)
  expect((await make({ handlers: { 'urn:a': 'scoped' } })).message).toMatch(/wants a scope/)
  expect((await make({}, loose)).message).toMatch(/lists no tasks/)
  await failing('UNKNOWN_TASK', () => new Bridge(deferq, { transport, queues: ['q'], handlers: { u: 'b' } }))
  await failing('INVALID_URL', () => new Bridge(deferq, { url: 'gopher://x', queues: ['q'] }))
  bridging(deferq, { transport, queues: ['q'] })
  const second = new Bridge(deferq, { transport: post().transport(), queues: ['q'] })
  expect((await failing('INVALID_OPTION', second.run())).message).toMatch(/Give each a name/)
})
